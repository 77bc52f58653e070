#!/bin/bash
# Runs the command under stress, and looks for what it leaves behind: processes, temporary files, mounts, wrong exit
# statuses. It prints a line for each kind of stress, and its status is 1 if anything was wrong.
#
#   scripts/stress.sh [RUNS [KILLS]]    (default: 500 runs in a row, 50 runs that are killed)
#
# KERNEL and ARGS choose the kernel and more arguments of exec.
set -u

cd "$(dirname -- "$0")/.." || exit 2
runs=${1:-500}
kills=${2:-50}
kernel=${KERNEL:-6.12}
command=${BPFREPLAY:-./bpfreplay}
[ -x "$command" ] || make -s bpfreplay || exit 2
TMPDIR=$(mktemp -d) || exit 2
export TMPDIR
mark=stress-$$
trap 'rm -rf "$TMPDIR"' EXIT
bad=0

say() { printf '%-36s %s\n' "$1" "$2"; }
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
	[ "$(wc -l </proc/self/mounts)" = "$mounts" ] || wrong "$1" "mounts: $(wc -l </proc/self/mounts), before $mounts"
}
mounts=$(wc -l </proc/self/mounts)

# shellcheck disable=SC2086 # ARGS is a list
run() { STRESS=$mark "$command" exec --kernel "$kernel" ${ARGS:-} --with /bin/sh -- sh -c "$1" >/dev/null 2>&1; }

begin=$SECONDS
failed=0
for i in $(seq "$runs"); do
	run "exit $((i % 5))"
	[ $? = $((i % 5)) ] || failed=$((failed + 1))
done
[ $failed = 0 ] || wrong 'in a row' "$failed of $runs had another exit status"
leftovers 'in a row'
say 'in a row' "$runs runs in $((SECONDS - begin)) s, $failed wrong"

begin=$SECONDS
failed=0
each=$((runs / 40 + 1))
for _ in $(seq "$each"); do
	jobs=
	for i in 0 1 2 3 4 5 6 7; do
		run "exit $i" &
		jobs="$jobs $!"
	done
	i=0
	for job in $jobs; do
		wait "$job"
		[ $? = $i ] || failed=$((failed + 1))
		i=$((i + 1))
	done
done
[ $failed = 0 ] || wrong '8 at once' "$failed of $((8 * each)) had another exit status"
leftovers '8 at once'
say '8 at once' "$((8 * each)) runs in $((SECONDS - begin)) s, $failed wrong"

begin=$SECONDS
killed=0
for _ in $(seq "$kills"); do
	# shellcheck disable=SC2086
	STRESS=$mark "$command" exec --kernel "$kernel" ${ARGS:-} --with /bin/sh --with /bin/sleep -- sh -c 'sleep 1' >/dev/null 2>&1 &
	pid=$!
	sleep "$(printf '%d.%03d' $((RANDOM % 2)) $((RANDOM % 1000)))"
	kill -KILL $pid 2>/dev/null && killed=$((killed + 1))
	wait $pid 2>/dev/null
done
leftovers 'SIGKILL at random moments'
run 'exit 3'
[ $? = 3 ] || wrong 'SIGKILL at random moments' 'a run after them fails'
say 'SIGKILL at random moments' "$killed of $kills were killed, in $((SECONDS - begin)) s"

begin=$SECONDS
full=$(mktemp -d)
mount -t tmpfs -o size=64k tmpfs "$full" 2>/dev/null && {
	dd if=/dev/zero of="$full/fill" bs=1k 2>/dev/null
	# shellcheck disable=SC2086
	STRESS=$mark "$command" vmtest --kernel "$kernel" ${ARGS:-} --case maps_hash --engines trace,replay --out "$full/out" >"$TMPDIR/log" 2>&1
	status=$?
	[ $status = 2 ] && grep -q 'no space left on device' "$TMPDIR/log" || wrong 'no room for reports' "exit status $status: $(tail -n 1 "$TMPDIR/log")"
	rm -f "$TMPDIR/log"
	umount "$full"
	rmdir "$full"
	leftovers 'no room for reports'
	say 'no room for reports' "exit status $status, in $((SECONDS - begin)) s"
}
[ ! -d "$full" ] || rmdir "$full"
exit $bad
