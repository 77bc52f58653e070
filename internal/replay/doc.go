// Package replay runs loader programs: the runtime that goes with an artefact.
//
// A run takes six system calls. What the caller wants to be different from what the
// object says is written into a copy of the blob before; what depends on the machine is
// handed in through the context. After a failure the results in the context say which
// step it was, everything that was opened is closed, and a second run of the same bytes
// fetches the verifier's log.
package replay
