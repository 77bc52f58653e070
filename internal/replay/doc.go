// Package replay runs loader programs: it is the runtime of artefacts. Begin with [Load].
//
// A run takes six system calls. Before it, the caller's overrides are written into a copy of the
// blob, and what depends on the machine into the context. If the load fails, the results in the
// context say which step failed, everything that was opened is closed, and a second run of the same
// bytes fetches the verifier's log.
package replay
