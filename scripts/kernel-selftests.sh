#!/bin/sh
# Builds the BPF selftests of the Linux kernel, as a corpus of objects: what is
# loaded directly of them, a loader program has to load, too.
#
#   scripts/kernel-selftests.sh     fetch and build into selftests/kernel
#
# Ends with selftests/kernel/obj/*.bpf.o, the bpftool of the same source, and
# libbpf-baseline, a static program that loads objects with the libbpf of the
# same source (scripts/libbpf-baseline.c). scripts/kernel-replay.py is what to
# run next. What is there already is not made again, so a
# run that was interrupted goes on where it was. Nothing here is committed.
#
# The source is Debian's newest linux-source-7.*, from sid: the mirror is
# $BPFREPLAY_DEBIAN_MIRROR, or else the one that this machine's apt uses, and
# apt checks the signature and the digests. The kernel's types (vmlinux.h) are
# those of the kernel "stable" in kernels.yaml, or of $VMLINUX.
# JOBS is how many compilers run at a time (2).
set -eu

root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
dir=$root/selftests/kernel
CLANG=${CLANG:-clang-19}
STRIP=${STRIP:-llvm-strip-19}
JOBS=${JOBS:-2}
export LC_ALL=C

die() {
	echo "kernel-selftests.sh: $*" >&2
	exit 2
}

say() {
	echo "kernel-selftests.sh: $*"
}

[ $# -eq 0 ] || die "unknown argument $1; usage: kernel-selftests.sh"
mkdir -p "$dir"
cd "$dir"
renice -n 10 -p $$ >/dev/null 2>&1 || true # the machine is for others, too

# One run at a time.
exec 9>lock
flock -n 9 || die "another run is at work in $dir"

# Half of anything is called NAME.part, and removed.
trap 'rm -rf ./*.part' EXIT
trap 'exit 130' INT TERM HUP
rm -rf ./*.part

# needed prints the Debian packages that are not there.
needed() {
	for p in clang-19 llvm-19 cpio gcc libc6-dev make python3 pkg-config libelf-dev zlib1g-dev \
		xz-utils debian-archive-keyring "$@"; do
		case "$(dpkg-query -W -f '${Status}' "$p" 2>/dev/null || true)" in
		*' installed') ;;
		*) echo "$p" ;;
		esac
	done
}

install_packages() {
	missing=$(needed | tr '\n' ' ')
	[ -n "$missing" ] || return 0
	[ "$(id -u)" -eq 0 ] || die "needs the Debian packages $missing; install them, or run this as root"
	say "installing Debian packages: $missing"
	# shellcheck disable=SC2086 # a list of words
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing
}

# mirror prints the address of the Debian archive, by the rule of
# vmimage/mirror.go.
mirror() {
	if [ -n "${BPFREPLAY_DEBIAN_MIRROR-}" ]; then
		echo "${BPFREPLAY_DEBIAN_MIRROR%/}"
		return
	fi
	found=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' 'Created-By: Packages' |
		awk '$2 == "main" && $1 ~ /\/debian\/?$/ { print $1; exit }')
	found=${found:-http://ftp.debian.org/debian}
	echo "${found%/}"
}

# apt_sid runs an apt program that knows sid and nothing of this machine.
apt_sid() {
	program=$1
	shift
	"$program" -q -o Dir::Etc::SourceList="$dir/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::State::Lists="$dir/apt/lists" -o Dir::State::status=/dev/null -o Dir::Cache="$dir/apt/cache" \
		-o APT::Architecture=amd64 -o APT::Architectures=amd64 -o Acquire::Languages=none \
		-o APT::Sandbox::User=root "$@"
}

# fetch_source makes src, a part of the kernel's source, and src/package.
fetch_source() {
	[ ! -e src/package ] || return 0
	mkdir -p apt/lists/partial apt/cache/archives/partial deb.part
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) sid main" >apt/sources.list
	apt_sid apt-get update -qq -o APT::Update::Error-Mode=any || die "cannot read the index of sid at $(mirror)"
	package=$(apt_sid apt-cache search --names-only '^linux-source-7\.[0-9]+$' | cut -d' ' -f1 | sort -V | tail -n 1)
	[ -n "$package" ] || die "sid has no linux-source-7.*"
	say "downloading $package"
	(cd deb.part && apt_sid apt-get download -qq "$package") || die "cannot download $package"
	deb=$(ls deb.part/*.deb)
	mkdir src.part
	# The rest of the tree is not needed.
	paths=
	for p in include/uapi kernel/bpf scripts/bpf_doc.py tools/arch tools/bpf tools/build tools/include \
		tools/lib tools/scripts tools/testing/selftests/bpf; do
		paths="$paths $package/$p"
	done
	say "unpacking $package"
	# shellcheck disable=SC2086 # a list of words
	dpkg-deb --fsys-tarfile "$deb" | tar -xO "./usr/src/$package.tar.xz" | xz -dc |
		tar -x -C src.part --strip-components=1 --anchored --no-wildcards $paths ||
		die "cannot unpack $deb"
	basename "$deb" >src.part/package
	rm -rf src deb.part
	mv src.part src
}

# build_bpftool makes bpftool and libbpf of the source, without what needs more
# libraries. This bpftool writes the kernel functions that programs may call as
# prototypes, which the selftests rely on and older ones do not do.
build_bpftool() {
	[ ! -x bpftool ] || return 0
	say "building bpftool and libbpf"
	rm -rf build libbpf
	mkdir -p build
	make -s -j"$JOBS" -C src/tools/bpf/bpftool OUTPUT="$dir/build/" SKIP_CRYPTO=1 SKIP_LLVM=1 SKIP_LIBBFD=1 \
		feature-clang-bpf-co-re=0 feature-llvm=0 feature-libbfd=0 feature-libcap=0 >build/log 2>&1 ||
		die "bpftool does not build; see $dir/build/log"
	mkdir libbpf.part
	cp -r build/libbpf/include build/libbpf/libbpf.a libbpf.part/
	mv libbpf.part libbpf
	cp build/bpftool bpftool.part
	mv bpftool.part bpftool
	rm -rf build
}

build_baseline() {
	[ libbpf-baseline -nt "$root/scripts/libbpf-baseline.c" ] && [ libbpf-baseline -nt libbpf/libbpf.a ] && return 0
	say "building libbpf-baseline"
	# shellcheck disable=SC2046 # a list of words
	gcc -static -O2 -g -Wall -Wextra -o libbpf-baseline.part "$root/scripts/libbpf-baseline.c" \
		-isystem libbpf/include -Isrc/tools/include/uapi libbpf/libbpf.a $(pkg-config --static --libs libelf zlib) ||
		die "libbpf-baseline does not build"
	mv libbpf-baseline.part libbpf-baseline
}

# find_vmlinux sets vmlinux, an image with BTF, and release, its name.
find_vmlinux() {
	if [ -n "${VMLINUX-}" ]; then
		vmlinux=$VMLINUX release=$VMLINUX
		return
	fi
	(cd "$root" && go build -o "$dir/bpfreplay.part" ./cmd/bpfreplay) || die "bpfreplay does not build"
	release=$(cd "$root" && "$dir/bpfreplay.part" kernels fetch stable | cut -f2)
	cache=${BPFREPLAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bpfreplay}
	vmlinux=$(grep -l "\"$release\"" "$cache"/kernels/*/kernel.json | head -n 1)
	[ -n "$vmlinux" ] || die "kernel $release is not in $cache"
	vmlinux=${vmlinux%/*}/vmlinux
}

make_vmlinux_h() {
	if [ -e include/vmlinux.h ] && [ -z "${VMLINUX-}" ]; then
		release=$(cat include/release)
		return
	fi
	find_vmlinux
	say "vmlinux.h from $release"
	rm -rf include
	mkdir include.part
	./bpftool btf dump file "$vmlinux" format c >include.part/vmlinux.h || die "no BTF in $vmlinux"
	echo "$release" >include.part/release
	mv include.part include
}

# flags are those of the selftests' Makefile, less warnings.
flags() {
	st=$dir/src/tools/testing/selftests/bpf
	echo "--target=bpfel -mcpu=v3 -O2 -g -w -std=gnu11 -fno-strict-aliasing -fms-extensions" \
		"-D__TARGET_ARCH_x86 -DENABLE_ATOMICS_TESTS" \
		"-I$dir/include -I$dir/libbpf/include -I$st -I$dir/src/tools/include/uapi -I$dir/src/tools/include" \
		"-I$st/libarena/include"
	"$CLANG" -v -E - </dev/null 2>&1 |
		sed -n '/<...> search starts here:/,/End of search list./{ s| \(/.*\)|-idirafter \1|p }'
}

compile_all() {
	flags=$(flags | tr '\n' ' ')
	recipe="$(cat src/package) $release $("$CLANG" --version | head -n 1) $flags"
	if [ "$(cat obj/recipe 2>/dev/null || true)" != "$recipe" ]; then
		rm -rf obj
		mkdir obj
		echo "$recipe" >obj/recipe
	fi
	export CLANG STRIP flags dir
	say "compiling"
	for c in src/tools/testing/selftests/bpf/progs/*.c; do
		name=${c##*/}
		[ -e "obj/${name%.c}.bpf.o" ] || echo "${name%.c}"
	done | xargs -r -P "$JOBS" -I NAME sh -c '
		more=
		case NAME in test_l4lb_noinline | test_xdp_noinline) more=-fno-inline ;; esac
		if $CLANG $flags $more -c src/tools/testing/selftests/bpf/progs/NAME.c -o obj/NAME.part 2>obj/NAME.err &&
			$STRIP -g obj/NAME.part; then
			mv obj/NAME.part obj/NAME.bpf.o
			rm -f obj/NAME.err
		else
			rm -f obj/NAME.part
		fi'
}

summary() {
	say "source $(cat src/package), types of $release"
	ok=$(find obj -name '*.bpf.o' | wc -l)
	all=$(find src/tools/testing/selftests/bpf/progs -name '*.c' | wc -l)
	say "$ok of $all compiled"
	for e in obj/*.err; do
		[ -e "$e" ] || continue
		echo "  $(basename "$e" .err): $(grep -m 1 -o 'error: .*' "$e" || head -n 1 "$e")"
	done
}

install_packages
fetch_source
build_bpftool
build_baseline
make_vmlinux_h
compile_all
summary
