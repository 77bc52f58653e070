// Package artefact reads and writes artefacts, the files that hold loader programs. An artefact has
// the instructions of a loader program, its blob, and a manifest. The manifest tells a runtime
// where to store inputs and where to find results. docs/artefact.md specifies the format.
//
// Begin with [Artefact]. [ReadFile], [ReadFS] and [Parse] read one, and [Artefact.MarshalBinary]
// returns the bytes of the file. To load an artefact, use package loader, which reads the same
// files.
package artefact
