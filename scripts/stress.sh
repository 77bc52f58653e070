#!/bin/bash
# Runs the command under stress, and looks for wrong exit statuses, wrong verdicts, half-written files, and what is left
# behind: processes, temporary files, mounts. It prints a line for each part, and its status is 1 if anything was wrong.
#
#   scripts/stress.sh [PART...]
#
# Parts: row eight kill matrix memory disk cache; all without an argument. disk and cache need root. These variables
# change what they do: KERNEL, RUNS (500), KILLS (50), KERNELS, ROUNDS (10) and CASE of matrix, and ARGS, more
# arguments of each run.
set -u

cd "$(dirname -- "$0")/.." || exit 2
kernel=${KERNEL:-6.12}
kernels=${KERNELS:-5.10 6.1 6.12 6.18 stable}
runs=${RUNS:-500}
kills=${KILLS:-50}
rounds=${ROUNDS:-10}
command=${BPFREPLAY:-./bpfreplay}
[ -x "$command" ] || make -s bpfreplay || exit 2
command=$(realpath "$command")
# bpftool misreads a path with a dot in the name of a directory.
TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/bpfreplay-stress-XXXXXX") || exit 2
export TMPDIR
mark=stress-$$
mounted=
trap '[ -z "$mounted" ] || umount "$mounted"; rm -rf "$TMPDIR"' EXIT
bad=0

say() { printf '%-28s %s\n' "$1" "$2"; }
wrong() {
	say "$1" "WRONG: $2"
	bad=1
}

# leftovers NAME looks for what runs have left. QEMU of a run that was killed ends a moment later.
leftovers() {
	for _ in $(seq 100); do
		left=$(grep -lsz "STRESS=$mark" /proc/[0-9]*/environ | grep -v "/proc/$$/" | tr '\n' ' ')
		[ -n "$left" ] || break
		sleep 0.1
	done
	[ -z "$left" ] || wrong "$1" "processes: $left"
	files=$(find "$TMPDIR" -mindepth 1)
	[ -z "$files" ] || wrong "$1" "files: $files"
	mounts=$(grep -F "$TMPDIR" /proc/self/mounts)
	[ -z "$mounts" ] || wrong "$1" "mounts: $mounts"
}

# run SCRIPT runs a shell's script in a guest. What is said of a run whose status is unexpected is printed by expect.
# shellcheck disable=SC2086 # ARGS is a list
run() { STRESS=$mark "$command" exec --kernel "$kernel" ${ARGS:-} --with /bin/sh --with /bin/sleep -- sh -c "$1" 2>&1; }

# expect STATUS SCRIPT runs a script that is to end with a status.
expect() {
	said=$(run "$2")
	got=$?
	[ $got = "$1" ] && return
	echo "    status $got, and not $1: $(echo "$said" | head -n 3 | cut -c -200)"
	return 1
}

row() {
	failed=0
	for i in $(seq "$runs"); do expect $((i % 5)) "exit $((i % 5))" || failed=$((failed + 1)); done
	[ $failed = 0 ] || wrong row "$failed of $runs had another exit status"
	leftovers row
	say row "$runs runs in $((SECONDS - begin)) s, $failed wrong"
}

# eight_at_once runs eight at once, and counts those with another exit status.
eight_at_once() {
	jobs=
	for i in 0 1 2 3 4 5 6 7; do
		expect $i "exit $i" &
		jobs="$jobs $!"
	done
	for job in $jobs; do wait "$job" || failed=$((failed + 1)); done
}

eight() {
	failed=0
	each=$((runs / 40 + 1))
	for _ in $(seq "$each"); do eight_at_once; done
	[ $failed = 0 ] || wrong eight "$failed of $((8 * each)) had another exit status"
	leftovers eight
	say eight "$((8 * each)) runs in $((SECONDS - begin)) s, $failed wrong"
}

kill() {
	killed=0
	for _ in $(seq "$kills"); do
		# shellcheck disable=SC2086
		STRESS=$mark "$command" exec --kernel "$kernel" ${ARGS:-} --with /bin/sh --with /bin/sleep -- sh -c 'sleep 1' >/dev/null 2>&1 &
		pid=$!
		sleep "$(printf '%d.%03d' $((RANDOM % 2)) $((RANDOM % 1000)))"
		builtin kill -KILL $pid 2>/dev/null && killed=$((killed + 1))
		wait $pid 2>/dev/null
	done
	leftovers kill
	expect 3 'exit 3' || wrong kill 'a run after them fails'
	leftovers kill
	say kill "$killed of $kills were killed, in $((SECONDS - begin)) s"
}

# summary FILE prints the verdicts of a matrix, without times.
summary() { sed -n 's/.*"\(equal\|explained\|different\|unsupported\|broken\)": \([0-9]*\).*/\1 \2/p' "$1" | sort | uniq -c; }

matrix() {
	failed=0
	first=
	for _ in $(seq "$rounds"); do
		# shellcheck disable=SC2086
		said=$(STRESS=$mark "$command" matrix --kernel "$kernels" ${ARGS:-} --case "${CASE:-maps_*}" --engines direct,trace,replay \
			--repeat 10 --jobs 2 --out "$TMPDIR/out" 2>&1) || {
			failed=$((failed + 1))
			echo "$said" | tail -n 5
		}
		now=$(summary "$TMPDIR/out/matrix.json")
		: "${first:=$now}"
		[ "$now" = "$first" ] || wrong matrix "verdicts of a round: $now; of the first: $first"
		rm -rf "$TMPDIR/out"
	done
	[ $failed = 0 ] || wrong matrix "$failed of $rounds rounds failed"
	leftovers matrix
	set -- $kernels
	say matrix "$((rounds * $#)) kernels in $((SECONDS - begin)) s, $failed rounds wrong"
}

available() { awk '/^MemAvailable:/ { print $2 }' /proc/meminfo; }

# A process takes memory until a tenth is left, and more when others give some back, for three minutes at most. It is the
# first that the kernel would end.
memory() {
	total=$(awk '/^MemTotal:/ { print $2 }' /proc/meminfo)
	# shellcheck disable=SC2016 # they are perl's
	sh -c 'echo 1000 >/proc/self/oom_score_adj; exec perl -e "$1" "$2"' sh '
		for (my $end = time + 170; time < $end; select(undef, undef, undef, 0.05)) {
			open(my $f, "<", "/proc/meminfo");
			my ($free) = map { /^MemAvailable: *(\d+)/ } <$f>;
			my $more = $free - $ARGV[0];
			vec($x[@x], 1024 * ($more < 1 << 18 ? $more : 1 << 18), 8) = 1 if $more > 1 << 14;
		}' $((total / 10)) &
	holder=$!
	for _ in $(seq 600); do
		rest=$(available)
		[ "$rest" -gt $((total / 9)) ] || break
		sleep 0.1
	done
	failed=0
	n=0
	until=$((SECONDS + 60))
	while [ $SECONDS -lt $until ] && builtin kill -0 $holder 2>/dev/null && [ $n -lt 48 ]; do
		eight_at_once
		now=$(available)
		[ "$now" -lt "$rest" ] || rest=$now
		n=$((n + 8))
	done
	held=survived
	builtin kill -0 $holder 2>/dev/null || held='was ended by the kernel'
	builtin kill -KILL $holder 2>/dev/null
	wait $holder 2>/dev/null
	[ $failed = 0 ] || wrong memory "$failed of $n had another exit status"
	leftovers memory
	say memory "$n runs, 8 at once, with $((rest / 1024)) of $((total / 1024)) MiB left or less, $failed wrong; the holder $held"
}

# full SIZE mounts a small file system.
full() {
	mounted=$TMPDIR/full
	mkdir "$mounted" && mount -t tmpfs -o "size=$1" tmpfs "$mounted"
}

empty() {
	umount "$mounted" && rmdir "$mounted"
	mounted=
}

# whole FILE reports whether a file is complete, by its end.
whole() {
	case $1 in
	*.json) python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$1" 2>/dev/null ;;
	*.html) tail -c 20 "$1" | grep -q '</html>' ;;
	*.xml) tail -c 20 "$1" | grep -q '</testsuites>' ;;
	*) true ;;
	esac
}

# with_room SIZE ARG... compares on one kernel with a small output directory, and looks at what is there afterwards.
with_room() {
	full "$1" || return
	# shellcheck disable=SC2086
	STRESS=$mark "$command" matrix --kernel "$kernel" ${ARGS:-} --case maps_hash --engines trace,replay --out "$mounted/out" \
		--junit "$mounted/junit.xml" --markdown "$mounted/summary.md" "${@:2}" >"$TMPDIR/log" 2>&1
	status=$?
	room=yes
	if grep -q 'no space left on device' "$TMPDIR/log"; then
		room=
	fi
	# An injected fault is status 2, too.
	case $status$room${2:-} in
	2* | 0yes | 0yes--cold) ;;
	*) wrong disk "$*: exit status $status: $(tail -n 1 "$TMPDIR/log")" ;;
	esac
	[ "$status$room${2:-}" != 2yes ] || wrong disk "$*: $(tail -n 1 "$TMPDIR/log")"
	while read -r file; do
		whole "$file" || wrong disk "$1: $file is not whole"
	done < <(find "$mounted" -type f)
	odd=$(find "$mounted" -name '.*' ! -name . ! -name .lock)
	[ -z "$odd" ] || wrong disk "$1: left: $odd"
	empty
	rm -f "$TMPDIR/log"
	n=$((n + 1))
}

# The output directory fills up at each write: it gets one page more each time, until a run
# succeeds. A booted guest also has its initramfs there, and a failed case has more files.
disk() {
	n=0
	with_room 1g # for the others the guest is saved
	for flags in '' '--fault maps_hash=oops --no-retry' --cold; do
		size=4
		room=
		while [ -z "$room" ] && [ $size -lt 131072 ]; do
			# shellcheck disable=SC2086
			with_room ${size}k $flags
			[ "$flags" != --cold ] || size=$((size * 2))
			size=$((size + 4))
		done
		[ -n "$room" ] || wrong disk "with $size KiB and $flags no run came to its end"
	done
	leftovers disk
	say disk "$n sizes in $((SECONDS - begin)) s"
}

# The cache fills up at various sizes. If a guest cannot be saved, it is booted.
cache() {
	n=0
	well=0
	had=${XDG_CACHE_HOME:-$HOME/.cache}/bpfreplay
	for size in 64k 512k 2m 8m 24m 48m 96m 128m 192m 256m 320m 512m 1g; do
		full $size || return
		n=$((n + 1))
		mkdir "$mounted/blobs"
		cp "$had/kernels.lock" "$mounted/"
		for blob in "$had"/blobs/*; do ln -s "$blob" "$mounted/blobs/"; done
		said=$(BPFREPLAY_CACHE=$mounted run 'exit 3')
		case $? in
		3) well=$((well + 1)) ;;
		2) echo "$said" | grep -q 'no space left on device' || wrong cache "$size: $(echo "$said" | tail -n 1)" ;;
		*) wrong cache "$size: another exit status: $said" ;;
		esac
		odd=$(find "$mounted/tmp" -mindepth 1 2>/dev/null)
		[ -z "$odd" ] || wrong cache "$size: left: $odd"
		empty
	done
	[ $well -gt 0 ] || wrong cache 'no run ended well'
	leftovers cache
	say cache "$n sizes in $((SECONDS - begin)) s; $well ended well"
}

[ $# -gt 0 ] || set -- row eight kill matrix memory disk cache
for part; do
	begin=$SECONDS
	$part
done
exit $bad
