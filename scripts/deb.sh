#!/bin/sh
# Makes a Debian package of the command, for this machine's architecture: the static binary, manual pages, completion for
# bash, zsh and fish, and the documentation.
#
#   scripts/deb.sh [DIRECTORY]    writes bpfreplay_VERSION_ARCH.deb there (default: out)
set -eu

cd "$(dirname -- "$0")/.."
dir=${1:-out}
command -v dpkg-deb >/dev/null || { echo "deb: dpkg-deb is needed: apt-get install dpkg" >&2; exit 2; }
make -s bpfreplay
version=$(git -c safe.directory='*' describe --tags --match 'v*' 2>/dev/null | sed 's/^v//; s/-/+/g') || version=
[ -n "$version" ] || version=0~$(git -c safe.directory='*' log -1 --format=%cd --date=format:%Y%m%d.%H%M%S)
arch=$(dpkg --print-architecture)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"

install -D -m 755 bpfreplay "$root/usr/bin/bpfreplay"
./bpfreplay man "$root/usr/share/man/man1"
gzip -9n "$root"/usr/share/man/man1/*.1
for shell in bash:usr/share/bash-completion/completions/bpfreplay zsh:usr/share/zsh/vendor-completions/_bpfreplay \
	fish:usr/share/fish/vendor_completions.d/bpfreplay.fish; do
	mkdir -p "$root/$(dirname "${shell#*:}")"
	./bpfreplay completion "${shell%%:*}" >"$root/${shell#*:}"
done
mkdir -p "$root/usr/share/doc/bpfreplay"
cp -r README.md docs "$root/usr/share/doc/bpfreplay/"
cp LICENSE "$root/usr/share/doc/bpfreplay/copyright"

mkdir "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<END
Package: bpfreplay
Version: $version
Architecture: $arch
Maintainer: bpfreplay maintainers <maintainers@bpfreplay.example>
Section: devel
Priority: optional
Installed-Size: $(du -sk "$root" | cut -f1)
Recommends: qemu-system-x86 | qemu-system-arm, debian-archive-keyring, ca-certificates
Suggests: bpftool, gdb, virtiofsd
Homepage: https://github.com/bpfreplay/bpfreplay
Description: loader programs for BPF objects, and programs on any kernel
 bpfreplay turns BPF ELF objects into loader programs, proves in QEMU guests that
 replaying one equals a direct load, and runs programs and Go tests on other kernels.
END
mkdir -p "$dir"
dpkg-deb --root-owner-group --build "$root" "$dir/bpfreplay_${version}_$arch.deb"
