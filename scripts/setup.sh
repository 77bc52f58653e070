#!/bin/sh
# Installs what this machine lacks for a purpose, with apt-get.
#
#   scripts/setup.sh vmtest            what a guest needs
#   scripts/setup.sh arm64             what a guest of another architecture needs; or riscv64
#   scripts/setup.sh bpftool           what libbpf's engines need
#   scripts/setup.sh test              ... and what the tests compare with
#   scripts/setup.sh bench             ... and what the benchmark compares with
#   scripts/setup.sh objects           the compiler of the core suite's objects
#   scripts/setup.sh extras            what debugging takes, and files of this machine in guests
#   scripts/setup.sh suite             what builds the Linux selftests
#
# Where nothing is missing it only looks, which takes a few milliseconds. It
# never asks: it is root, or sudo works without a password, or it says in one
# line what to install, and fails.
set -eu

root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)

die() {
	echo "setup: $*" >&2
	exit 2
}

# Go is for the user to install: it must be newer than what distributions have.
# From 1.21 on, go fetches the version that go.mod asks for, unless it is told
# not to; then it fails here.
want=$(sed -n 's/^go //p' "$root/go.mod")
command -v go >/dev/null || die "Go $want or newer is needed, and there is none in PATH: see https://go.dev/dl"
have=$(cd "$root" && go env GOVERSION 2>/dev/null) || have=$(cd / && go env GOVERSION)
# The older of the two comes first.
have=${have##*go}
[ "$(printf '%s\n%s\n' "$want" "${have%%[!0-9.]*}" | sort -V | head -n 1)" = "$want" ] ||
	die "Go $want or newer is needed, and $(command -v go) is $have: see https://go.dev/dl"

missing=
PATH=$PATH:/usr/sbin:/sbin # where bpftool is
program() { command -v "$1" >/dev/null || missing="$missing $2"; }
file() { [ -e "$1" ] || missing="$missing $2"; }

guest() {
	program qemu-system-x86_64 qemu-system-x86
	# Kernels are only taken from Debian's archive if its keys say so.
	file /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
}

[ $# -gt 0 ] || die "usage: setup.sh vmtest|arm64|riscv64|bpftool|test|bench|objects|suite|extras..."
for purpose; do
	case "$purpose" in
	vmtest) guest ;;
	arm64)
		guest
		program qemu-system-aarch64 qemu-system-arm
		;;
	riscv64)
		guest
		# From Debian 13 on it has a package of its own.
		if apt-cache show qemu-system-riscv >/dev/null 2>&1; then
			program qemu-system-riscv64 qemu-system-riscv
		else
			program qemu-system-riscv64 qemu-system-misc
		fi
		;;
	bpftool) program bpftool bpftool ;;
	test)
		guest
		program qemu-system-aarch64 qemu-system-arm
		program bpftool bpftool
		program strace strace
		program gdb gdb
		program openssl openssl
		program chromium-headless-shell chromium-headless-shell
		program cc gcc
		program g++ g++
		file /usr/include/stdlib.h libc6-dev
		file /usr/include/bpf/libbpf.h libbpf-dev
		;;
	bench)
		guest
		program busybox busybox-static
		;;
	objects)
		program clang-19 clang-19
		program llvm-strip-19 llvm-19
		file /usr/include/bpf/bpf_helpers.h libbpf-dev
		file /usr/include/linux/bpf.h linux-libc-dev
		;;
	suite)
		guest
		program clang-19 clang-19
		program llvm-strip-19 llvm-19
		# bpftool and libbpf of the same source
		program make make
		program gcc gcc
		program python3 python3
		program pkg-config pkg-config
		file /usr/include/stdlib.h libc6-dev
		file /usr/include/libelf.h libelf-dev
		file /usr/include/zlib.h zlib1g-dev
		;;
	extras)
		program gdb gdb
		program pahole pahole
		# Where QEMU brings its own, that will do.
		[ -e /usr/lib/qemu/virtiofsd ] || file /usr/libexec/virtiofsd virtiofsd
		;;
	*) die "unknown purpose $purpose" ;;
	esac
done
[ -n "$missing" ] || exit 0

missing=${missing# }
command -v apt-get >/dev/null || die "install these first (names as in Debian): $missing"
sudo=
if [ "$(id -u)" != 0 ]; then
	sudo -n true 2>/dev/null || die "not root, and sudo does not work without a password; install these first: apt-get install --no-install-recommends $missing"
	sudo='sudo -n'
fi

echo "setup: installing $missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The log is shown only if something goes wrong. An index that is there may be
# good enough, so it is fetched only if it is not.
install() {
	# shellcheck disable=SC2086 # packages are words
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qy -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 \
		install --no-install-recommends $missing </dev/null >"$log" 2>&1
}
# shellcheck disable=SC2086 # sudo may be empty
install || { $sudo apt-get -qy update </dev/null >"$log" 2>&1 && install; } || {
	cat "$log" >&2
	die "apt-get could not install: $missing"
}
