// Package features is a skeleton with everything that skeletons have, for tests.
package features

//go:generate go run ../../../../cmd/bpfreplay gen --go --ident Features --cc clang-19 features.bpf.c
