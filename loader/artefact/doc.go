// Package artefact is the file that holds a loader program: its instructions, its
// blob, and a manifest that says what goes in and comes out. docs/artefact.md has
// the format.
package artefact
