// Package mutation breaks loads on purpose, in guests, and wants each fault noticed. Package
// mutate has the faults.
package mutation
