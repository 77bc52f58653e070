#!/bin/sh
# Builds the objects of the core suite: selftests/bpf/*.bpf.c -> *.bpf.o, and that of
# the policy, loader/policy/bpf/policy.bpf.c, which the suite has, too.
#
#   scripts/objects.sh            build beside the sources
#   scripts/objects.sh --check    build into a temporary directory and compare
#                                 with the committed objects; status 1 if they differ
#
# The suite loads the committed objects, so every machine must build the same bytes: the compiler is
# pinned, and directory, user and date do not get in. CLANG, STRIP and OBJCOPY name other binaries.
set -eu

root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
src=$root/selftests/bpf
CLANG=${CLANG:-clang-19}
STRIP=${STRIP:-llvm-strip-19}
OBJCOPY=${OBJCOPY:-llvm-objcopy-19}
pinned=19.1.7
export LC_ALL=C

die() {
	echo "objects.sh: $*" >&2
	exit 2
}

check=
case "${1-}" in
'') ;;
--check) check=yes ;;
*) die "unknown argument $1; usage: objects.sh [--check]" ;;
esac

install='install Debian packages clang-19, llvm-19, libbpf-dev and linux-libc-dev'
version=$("$CLANG" --version 2>/dev/null | head -n 1) || true
case "$version" in
'Debian clang version '$pinned*) ;;
'') die "$CLANG not found; $install" ;;
*) die "need Debian's clang $pinned (package clang-19), but $CLANG is \"$version\"; $install" ;;
esac
for tool in "$STRIP" "$OBJCOPY"; do
	"$tool" --version >/dev/null 2>&1 || die "$tool not found (package llvm-19); $install"
done
[ -e /usr/include/bpf/bpf_helpers.h ] || die "bpf/bpf_helpers.h not found (package libbpf-dev); $install"

# asm/types.h is in a directory for the architecture. The parts that the objects use are the same
# for all.
asm=
for d in /usr/include/*-linux-gnu; do
	[ ! -e "$d/asm/types.h" ] || asm=$d
done
[ -n "$asm" ] || die "asm/types.h not found (package linux-libc-dev); $install"

# The temporary directory is beside the objects, so that each object is renamed to its place.
# --check does not change the tree.
out=
trap 'rm -rf "$out"' EXIT
trap 'exit 130' INT TERM HUP
if [ -n "$check" ]; then
	out=$(mktemp -d)
else
	out=$(mktemp -d "$src/.objects.XXXXXX")
fi

# compile TARGET SOURCE OBJECT: relative names only, so that none of the
# build directory ends up in BTF line information. A source may add compiler
# flags in a line "// flags: ...".
compile() {
	flags=$(sed -n 's,^// flags: ,,p' "$2")
	# shellcheck disable=SC2086 # flags are words
	"$CLANG" --target="$1" -mcpu=v3 -O2 -g -std=gnu11 \
		-Wall -Werror -Wno-unused-value \
		-fdebug-compilation-dir=. -idirafter "$asm" $flags -c "$2" -o "$3"
	"$STRIP" -g "$3"
}

policy=$root/loader/policy/bpf
cd "$policy"
compile bpfel policy.bpf.c "$out/policy"

cd "$src"
for c in *.bpf.c; do
	compile bpfel "$c" "$out/${c%.c}.o"
done

# Inputs that every loader must refuse, made from a good object.
compile bpfeb maps_hash.bpf.c "$out/bad_bigendian.bpf.o"
echo 'int x;' | "$CLANG" --target=x86_64-linux-gnu -x c -c -o "$out/bad_machine.bpf.o" -
head -c 64 /dev/zero >"$out/zeroes"
"$OBJCOPY" --update-section .BTF="$out/zeroes" "$out/maps_hash.bpf.o" "$out/bad_btf.bpf.o"
head -c 700 "$out/maps_hash.bpf.o" >"$out/bad_truncated.bpf.o"
head -c 40 "$out/maps_hash.bpf.o" >"$out/bad_header.bpf.o"
: >"$out/bad_empty.bpf.o"
echo 'This is not an ELF file, although its name says so.' >"$out/bad_text.bpf.o"

if [ -z "$check" ]; then
	for o in "$src"/*.bpf.o; do
		[ ! -e "$o" ] || [ -e "$out/${o##*/}" ] || rm "$o"
	done
	for o in "$out"/*.bpf.o; do
		cmp -s "$o" "$src/${o##*/}" || mv "$o" "$src/"
	done
	cmp -s "$out/policy" "$policy/policy.bpf.o" || mv "$out/policy" "$policy/policy.bpf.o"
	exit 0
fi

status=0
for o in "$out"/*.bpf.o; do
	if [ ! -e "$src/${o##*/}" ]; then
		echo "objects.sh: ${o##*/}: not committed; run 'make objects'" >&2
		status=1
	elif ! cmp -s "$o" "$src/${o##*/}"; then
		echo "objects.sh: ${o##*/}: differs from what its source gives; run 'make objects'" >&2
		status=1
	fi
done
for o in "$src"/*.bpf.o; do
	if [ ! -e "$out/${o##*/}" ]; then
		echo "objects.sh: ${o##*/}: committed, but nothing makes it" >&2
		status=1
	fi
done
if ! cmp -s "$out/policy" "$policy/policy.bpf.o"; then
	echo "objects.sh: loader/policy/bpf/policy.bpf.o: differs from what its source gives; run 'make objects'" >&2
	status=1
fi
exit $status
