// Package hooks is a skeleton with a program for each kind of attach, for tests.
package hooks

//go:generate go run ../../../../cmd/bpfreplay gen --go --ident Hooks --cc clang-19 hooks.bpf.c -- -D__TARGET_ARCH_x86
