// Package features is a test skeleton that has everything that skeletons support.
package features

//go:generate go run ../../../../cmd/bpfreplay gen --go --ident Features --cc clang-19 features.bpf.c
