#!/bin/sh
# Makes types.btf, the .BTF section of types.c, with the pinned compiler.
set -eu
cd "$(dirname "$0")"
CLANG=${CLANG:-clang-19} OBJCOPY=${OBJCOPY:-llvm-objcopy-19}
$CLANG -O2 -g -mcpu=v3 --target=bpfel -ffile-prefix-map=$PWD=. -c types.c -o types.o
$OBJCOPY --dump-section .BTF=types.btf types.o /dev/null
rm types.o
