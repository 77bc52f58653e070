#!/bin/sh
# Runs the commands for the action's inputs, each on all kernels. The status is 1 after a difference
# or a failure, otherwise 2 if a kernel is not available or the harness failed.
set -u

PATH=$PATH:${RUNNER_TEMP:-/tmp}/bpfreplay-bin
out=${BPFREPLAY_OUT:-bpfreplay-out}
kernels=${BPFREPLAY_KERNELS:-ci}
mkdir -p "$out/junit" || exit 2
status=0

# ended NAME STATUS records the status of a step.
ended() {
	case $2 in
	0) return ;;
	1) status=1 ;;
	*) [ "$status" = 1 ] || status=2 ;;
	esac
	echo "::error title=bpfreplay $1::exit status $2"
}

# summary NAME FILE adds the output of a command to the job's summary.
summary() {
	[ -n "${GITHUB_STEP_SUMMARY:-}" ] || return 0
	{
		printf '### bpfreplay %s\n\n```text\n' "$1"
		tail -n 200 "$2" | tail -c 60000 | sed 's/```/` ` `/g'
		printf '```\n\n'
	} >>"$GITHUB_STEP_SUMMARY"
}

# logged FILE COMMAND... runs a command and copies its output to a file.
logged() {
	log=$1
	shift
	{ "$@" 2>&1; echo $? >"$log.status"; } | tee "$log"
	return "$(cat "$log.status")"
}

if [ "${BPFREPLAY_UPDATE:-false}" = true ]; then
	bpfreplay kernels update || ended 'kernels update' $?
fi

# shellcheck disable=SC2086 # the shell splits BPFREPLAY_ARGS and lists of files
{
	if [ -n "${BPFREPLAY_OBJECTS:-}" ]; then
		logged "$out/check.txt" bpfreplay check --kernel "$kernels" --out "$out/check" --junit "$out/junit/check.xml" \
			${BPFREPLAY_ARGS:-} $BPFREPLAY_OBJECTS
		ended check $?
		summary check "$out/check.txt"
	fi
	if [ -n "${BPFREPLAY_SUITE:-}" ]; then
		suite=
		[ "$BPFREPLAY_SUITE" = core ] || suite="--suite $BPFREPLAY_SUITE"
		# matrix writes the summary itself.
		bpfreplay matrix --kernel "$kernels" $suite --out "$out/vmtest" --junit "$out/junit/vmtest.xml" ${BPFREPLAY_ARGS:-}
		ended vmtest $?
	fi
	if [ -n "${BPFREPLAY_RUN:-}" ]; then
		logged "$out/exec.txt" bpfreplay exec --kernel "$kernels" --junit "$out/junit/exec.xml" ${BPFREPLAY_ARGS:-} -- $BPFREPLAY_RUN
		ended exec $?
		summary exec "$out/exec.txt"
	fi
	if [ -n "${BPFREPLAY_PACKAGES:-}" ]; then
		for package in $(go list $BPFREPLAY_PACKAGES); do
			[ -n "$(go list -f '{{join .TestGoFiles ""}}{{join .XTestGoFiles ""}}' "$package")" ] || continue
			name=$(printf %s "$package" | tr -c 'A-Za-z0-9._-' _)
			test=$PWD/$out/$name.test
			CGO_ENABLED=0 go test -c -o "$test" "$package" || {
				ended "go test -c $package" 1
				continue
			}
			dir=$(go list -f '{{.Dir}}' "$package")
			logged "$PWD/$out/$name.txt" sh -c 'cd "$1" && shift && exec "$@"' sh "$dir" \
				bpfreplay exec --kernel "$kernels" --junit "$PWD/$out/junit/$name.xml" ${BPFREPLAY_ARGS:-} -- "$test" -test.v
			ended "go test $package" $?
			summary "go test $package" "$out/$name.txt"
			rm -f "$test"
		done
	fi
}

if [ -n "${GITHUB_OUTPUT:-}" ]; then
	echo "junit=$out/junit" >>"$GITHUB_OUTPUT"
	echo "report=$out" >>"$GITHUB_OUTPUT"
fi
exit $status
