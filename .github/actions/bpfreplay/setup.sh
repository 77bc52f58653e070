#!/bin/sh
# Installs QEMU and bpfreplay, on a runner of GitHub or in a container with Debian or Ubuntu.
set -eu

sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
missing=
command -v qemu-system-x86_64 >/dev/null || missing="$missing qemu-system-x86"
# Debian's archive keys check the kernels.
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing="$missing debian-archive-keyring"
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"
if [ -n "$missing" ]; then
	$sudo apt-get update -q
	# shellcheck disable=SC2086 # a list
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $missing
fi

# On GitHub's runners only root can use KVM.
[ ! -e /dev/kvm ] || [ -w /dev/kvm ] || $sudo chmod 0666 /dev/kvm

bin=${RUNNER_TEMP:-/tmp}/bpfreplay-bin
mkdir -p "$bin"
tree=$(CDPATH= cd -- "$(dirname -- "$0")/../../.." && pwd)
if [ -n "${BPFREPLAY_BINARY:-}" ]; then
	cp "$BPFREPLAY_BINARY" "$bin/bpfreplay"
elif ! command -v go >/dev/null; then
	echo "bpfreplay: Go is needed to build it: run actions/setup-go before this action" >&2
	exit 2
elif [ -e "$tree/cmd/bpfreplay" ]; then
	(cd "$tree" && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$bin/bpfreplay" ./cmd/bpfreplay)
else
	GOBIN=$bin CGO_ENABLED=0 go install -trimpath "github.com/bpfreplay/bpfreplay/cmd/bpfreplay@${BPFREPLAY_VERSION:-latest}"
fi
[ -z "${GITHUB_PATH:-}" ] || echo "$bin" >>"$GITHUB_PATH"
"$bin/bpfreplay" --help >/dev/null
