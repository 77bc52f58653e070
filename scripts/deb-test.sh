#!/bin/sh
# Installs the package that `make deb` writes in a clean Debian, and runs it there; then the steps of the action for
# GitHub, in the same. It takes root, debootstrap and Debian's archive.
#
#   scripts/deb-test.sh [SUITE]    (default: trixie)
set -eu

cd "$(dirname -- "$0")/.."
suite=${1:-trixie}
[ "$(id -u)" = 0 ] || { echo "deb-test: it needs root, for a chroot" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "deb-test: apt-get install debootstrap" >&2; exit 2; }
work=$(mktemp -d)
trap 'umount -l "$work/root/proc" "$work/root/dev" 2>/dev/null || :; rm -rf "$work"' EXIT
root=$work/root
scripts/deb.sh "$work/deb"
debootstrap --variant=minbase "$suite" "$root" >"$work/debootstrap.log" || { tail "$work/debootstrap.log"; exit 2; }
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --make-rslave "$root/dev"
cp /etc/resolv.conf "$root/etc/resolv.conf"
[ -z "${BPFREPLAY_DEBIAN_MIRROR:-}" ] || export BPFREPLAY_DEBIAN_MIRROR
in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb DEBIAN_FRONTEND=noninteractive "$@"; }

echo '== the package'
cp "$work"/deb/*.deb "$root/tmp/bpfreplay.deb"
in_root apt-get update -q
in_root apt-get install -qy --no-install-recommends /tmp/bpfreplay.deb man-db
in_root bpfreplay kernels list
in_root man -P cat bpfreplay-exec | head -n 5
[ -s "$root/usr/share/bash-completion/completions/bpfreplay" ]
# Use the kernels of this machine's cache, if there are any: the test is about the package.
if [ -d "$HOME/.cache/bpfreplay/kernels" ]; then
	mkdir -p "$root/root/.cache/bpfreplay"
	for part in blobs images kernels kernels.lock; do
		[ ! -e "$HOME/.cache/bpfreplay/$part" ] || cp -a "$HOME/.cache/bpfreplay/$part" "$root/root/.cache/bpfreplay/"
	done
fi

echo '== the steps of the action, with a package that is elsewhere'
mkdir -p "$root/action" "$root/project" "$root/runner"
cp .github/actions/bpfreplay/* "$root/action/"
cp selftests/bpf/maps_hash.bpf.o selftests/bpf/fail_verifier.bpf.o "$root/project/"
in_root env RUNNER_TEMP=/runner BPFREPLAY_BINARY=/usr/bin/bpfreplay GITHUB_PATH=/runner/path sh /action/setup.sh
step() {
	in_root env -C /project RUNNER_TEMP=/runner GITHUB_STEP_SUMMARY=/runner/summary.md GITHUB_OUTPUT=/runner/output \
		BPFREPLAY_KERNELS=6.12 "$@" sh /action/run.sh
}
step BPFREPLAY_OBJECTS=maps_hash.bpf.o BPFREPLAY_RUN='true' BPFREPLAY_ARGS='--accel tcg'
if step BPFREPLAY_OBJECTS=fail_verifier.bpf.o BPFREPLAY_ARGS='--accel tcg'; then
	echo "deb-test: an object that does not load is no failure" >&2
	exit 1
fi
grep -q 'bpfreplay check' "$root/runner/summary.md"
grep -q '<testcase' "$root/project/bpfreplay-out/junit/check.xml"
grep -q '<failure' "$root/project/bpfreplay-out/junit/check.xml"
grep -q '^junit=' "$root/runner/output"
echo "deb-test: ok"
