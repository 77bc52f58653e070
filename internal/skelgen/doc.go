// Package skelgen writes light skeletons: source code in Go and in C that loads, attaches and
// closes one artefact. It needs no kernel. docs/skeletons.md is its manual.
//
// A skeleton is made of an object and the loader program of it: the object's BTF gives types,
// the artefact everything else. Whatever the object's types are, the code compiles: what a
// language cannot express is bytes of the same size at the same place.
package skelgen
