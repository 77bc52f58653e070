#!/bin/sh
# Compiles the policy. It is committed, so nothing else needs a compiler; the compiler is
# that of scripts/objects.sh, so that a rebuild gives the same bytes.
set -eu
cd "$(dirname "$0")"
CLANG=${CLANG:-clang-19} STRIP=${STRIP:-llvm-strip-19}
$CLANG --target=bpfel -mcpu=v3 -O2 -g -std=gnu11 -Wall -Werror -fdebug-compilation-dir=. \
	-idirafter "/usr/include/$(uname -m)-linux-gnu" -c policy.bpf.c -o policy.bpf.o
$STRIP -g policy.bpf.o
