// Package hooks is a test skeleton with one program for each way to attach.
package hooks

//go:generate go run ../../../../cmd/bpfreplay gen --go --ident Hooks --cc clang-19 hooks.bpf.c -- -D__TARGET_ARCH_x86
