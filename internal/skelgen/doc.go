// Package skelgen writes light skeletons: source code in Go and C that loads, attaches and closes
// one artefact. It needs no kernel. docs/skeletons.md is the user's manual. Begin with [Go] and
// [C].
//
// A skeleton is generated from an object and its loader program. The types come from the object's
// BTF, everything else from the artefact. The code compiles for all types: what a language cannot
// express becomes bytes of the same size at the same offset.
package skelgen
