#!/bin/sh
# Compiles the objects of this directory. They are committed, so tests need no
# compiler; the compiler is pinned, so that a rebuild gives the same bytes.
set -eu
cd "$(dirname "$0")"
CLANG=${CLANG:-clang-19} STRIP=${STRIP:-llvm-strip-19} BPFTOOL=${BPFTOOL:-bpftool}
FLAGS="-O2 -mcpu=v3 --target=bpfel -I/usr/include/$(uname -m)-linux-gnu -ffile-prefix-map=$PWD=. -Wall -Wno-unused-function -Wno-missing-declarations"

compile() { # source flags...
	src=$1; shift
	$CLANG $FLAGS "$@" -c "$src" -o "${src%.c}.o"
	$STRIP -g "${src%.c}.o"
}

for src in *.c refused/*.c; do
	case $src in
	nobtf.c) compile "$src" ;;
	*) compile "$src" -g ;;
	esac
done
$BPFTOOL gen object linked.o link_a.o link_b.o
rm link_a.o link_b.o
