#!/bin/sh
# Compiles the objects of this directory. They are committed, so tests need no
# compiler; the compiler is pinned, so that a rebuild gives the same bytes.
set -eu
cd "$(dirname "$0")"
CLANG=${CLANG:-clang-19} STRIP=${STRIP:-llvm-strip-19}
for src in *.c; do
	$CLANG -O2 -mcpu=v3 --target=bpfel -g -I"/usr/include/$(uname -m)-linux-gnu" -ffile-prefix-map="$PWD=." -Wall \
		-Wno-unused-function -Wno-missing-declarations -c "$src" -o "${src%.c}.o"
	$STRIP -g "${src%.c}.o"
done
