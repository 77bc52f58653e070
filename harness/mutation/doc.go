// Package mutation runs the faults of package mutate in guests, and checks that the comparison
// detects each of them. Begin reading at Run.
package mutation
