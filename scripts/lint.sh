#!/bin/sh
# Checks format, go vet, staticcheck, shell scripts and workflows (make lint). All checks run; the
# status is 1 if any found something.
set -u

cd "$(dirname -- "$0")/.." || exit 2
status=0

unformatted=$(gofmt -l embed.go cmd harness internal loader scripts selftests suites vmimage) || status=1
if [ -n "$unformatted" ]; then
	echo "$unformatted" | sed 's/$/: not as gofmt has it/' >&2
	status=1
fi

go vet ./... || status=1

# The tools have a module of their own, see lint.mod.
go tool -modfile=scripts/lint.mod staticcheck ./... || status=1
go tool -modfile=scripts/lint.mod actionlint || status=1

for script in .ci/run .github/actions/*/*.sh scripts/*.sh loader/testdata/*.sh internal/*/testdata/*.sh; do
	interpreter=$(sed -n '1s,^#!\(/usr\)*/bin/\(env \)*,,p' "$script")
	"$interpreter" -n "$script" || status=1
	if command -v shellcheck >/dev/null; then
		shellcheck "$script" || status=1
	fi
done

exit $status
