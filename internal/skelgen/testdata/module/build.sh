#!/bin/sh
# Builds skel_kmod.ko: build.sh BPFREPLAY OUT HEADERS [ROOT]. HEADERS is a kernel's build directory; with
# ROOT, one that "bpfreplay suite" has made for test modules (~/.cache/bpfreplay/suites/roots/*), a path in it.
set -eu
bpfreplay=$1 out=$2 headers=$3 root=${4-}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d ${root:+"$root/build/work-XXXXXX"})
trap 'rm -rf "$work"' EXIT
cp "$here/skel_kmod.c" "$here/Kbuild" "$work"
"$bpfreplay" gen --c --ident kmod --cc "${CLANG:-clang-19}" -o "$work" "$here/kmod.bpf.c" -- "-I/usr/include/$(uname -m)-linux-gnu"
if [ -n "$root" ]; then
	unshare -m sh -c 'mount --bind /dev/null "$0/dev/null" && mount --rbind /proc "$0/proc" && exec chroot "$0" "$@"' \
		"$root" /usr/bin/env -i PATH=/usr/bin:/bin make -s -C "$headers" M="/build/$(basename "$work")" modules
else
	make -s -C "$headers" M="$work" modules
fi
mkdir -p "$out"
cp "$work/skel_kmod.ko" "$out"
