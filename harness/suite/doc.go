// Package suite reads suites: cases, each an object and what is to be done with it, and
// picks those that are to run, by name, by need and by [Shard].
package suite
