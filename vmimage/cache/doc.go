// Package cache is the directory in which bpfreplay keeps what it downloaded and built, shared by
// all runs of one user. [Open] is where to begin. Package vmimage fills the directory with kernels,
// the harness with saved guests, and package suites with objects.
//
// # What the lock guarantees
//
// A [Dir] holds a shared lock on the directory from [Open] to [Dir.Close], so what it returned
// stays there meanwhile. The exceptions are archives that nobody used for a week, and saved guests,
// which may have to make room. [Dir.Prune] needs the lock for itself, and fails with [ErrBusy]
// while another Dir is open. [Dir.Once] and [Dir.Lock] make one run wait for the other where two
// want to make the same thing.
//
// # What survives kill -9
//
// Things are made in tmp, flushed to the disk and renamed to their places. So a thing is either
// complete or absent, even after a crash of this machine. The kernel releases the locks of a killed
// process. What it left in tmp is removed by the next [Open] that finds the cache unused. A saved
// guest is not flushed, because it is useless after a crash of this machine.
//
// # Who owns what
//
// Names are digests of what the thing was made from, so a thing never changes and needs no owner:
// callers only read below the paths they get, except in the temporary directories that the cache
// passes to them. Only the lists of suites ([Dir.MakeFile]) and the lock file of package catalog
// are replaced, each as a whole.
package cache
