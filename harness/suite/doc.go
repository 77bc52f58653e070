// Package suite reads suites of cases. A case is an object and what to do with it. The package also
// selects the cases to run, by name, by need and by [Shard].
package suite
