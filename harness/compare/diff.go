package compare

import (
	"fmt"
	"slices"
	"strings"
)

// diffContext is how many equal lines a unified diff shows around a change.
const diffContext = 3

// maxEdits limits the work of a diff. If two texts differ in more lines, the diff shows one after
// the other.
const maxEdits = 1000

// edit is one line of a diff: ' ' in both, '-' only in a, '+' only in b.
type edit struct {
	op   byte
	line string
}

// unifiedDiff returns the difference between two texts in the format of diff -u, or "" if they are
// equal.
func unifiedDiff(nameA, nameB string, a, b []string) string {
	edits := diffLines(a, b)
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", nameA, nameB)
	header := out.Len()
	lineA, lineB := 1, 1
	for i := 0; i < len(edits); {
		from, to := hunk(edits, i)
		if from == to {
			break
		}
		for _, e := range edits[i:from] {
			lineA, lineB = advance(e, lineA, lineB)
		}
		writeHunk(&out, edits[from:to], lineA, lineB)
		for _, e := range edits[from:to] {
			lineA, lineB = advance(e, lineA, lineB)
		}
		i = to
	}
	if out.Len() == header {
		return ""
	}
	return out.String()
}

func advance(e edit, lineA, lineB int) (int, int) {
	if e.op != '+' {
		lineA++
	}
	if e.op != '-' {
		lineB++
	}
	return lineA, lineB
}

// hunk returns the range of the next group of changes at or after edit i, with context. from equals
// to if there are no more changes.
func hunk(edits []edit, i int) (from, to int) {
	first := i
	for first < len(edits) && edits[first].op == ' ' {
		first++
	}
	if first == len(edits) {
		return first, first
	}
	last, equal := first, 0
	for j := first; j < len(edits) && equal <= 2*diffContext; j++ {
		if edits[j].op == ' ' {
			equal++
			continue
		}
		last, equal = j, 0
	}
	return max(i, first-diffContext), min(len(edits), last+1+diffContext)
}

func writeHunk(out *strings.Builder, edits []edit, lineA, lineB int) {
	countA, countB := 0, 0
	for _, e := range edits {
		countA, countB = advance(e, countA, countB)
	}
	fmt.Fprintf(out, "@@ -%d,%d +%d,%d @@\n", lineA, countA, lineB, countB)
	for _, e := range edits {
		out.WriteByte(e.op)
		out.WriteString(e.line)
		out.WriteByte('\n')
	}
}

// diffLines returns the shortest edit script from a to b (E. W. Myers, "An O(ND) difference
// algorithm and its variations", 1986).
func diffLines(a, b []string) []edit {
	prefix := 0
	for prefix < len(a) && prefix < len(b) && a[prefix] == b[prefix] {
		prefix++
	}
	suffix := 0
	for suffix < len(a)-prefix && suffix < len(b)-prefix && a[len(a)-1-suffix] == b[len(b)-1-suffix] {
		suffix++
	}
	edits := appendLines(nil, ' ', a[:prefix])
	edits = append(edits, shortestEdits(a[prefix:len(a)-suffix], b[prefix:len(b)-suffix])...)
	return appendLines(edits, ' ', a[len(a)-suffix:])
}

func appendLines(edits []edit, op byte, lines []string) []edit {
	for _, l := range lines {
		edits = append(edits, edit{op, l})
	}
	return edits
}

func shortestEdits(a, b []string) []edit {
	limit := min(len(a)+len(b), maxEdits)
	// reach[mid+k] is the furthest position in a on diagonal k (position in a minus position in b).
	// trace[d] is a copy of reach after d edits.
	mid := limit + 1
	reach := make([]int, 2*limit+3)
	var trace [][]int
	for d := 0; d <= limit; d++ {
		for k := -d; k <= d; k += 2 {
			x := reach[mid+k-1] + 1
			if k == -d || k != d && reach[mid+k-1] < reach[mid+k+1] {
				x = reach[mid+k+1]
			}
			for x < len(a) && x-k < len(b) && a[x] == b[x-k] {
				x++
			}
			reach[mid+k] = x
			if x == len(a) && x-k == len(b) {
				return backtrack(a, b, trace, k)
			}
		}
		trace = append(trace, slices.Clone(reach[mid-d:mid+d+1]))
	}
	return appendLines(appendLines(nil, '-', a), '+', b)
}

// backtrack follows the path that shortestEdits found, from the ends of a and b, on diagonal k,
// back to their starts.
func backtrack(a, b []string, trace [][]int, k int) []edit {
	var edits []edit
	x := len(a)
	for d := len(trace); d > 0; d-- {
		reach := trace[d-1] // of the diagonals -(d-1) … d-1
		insert := k == -d || k != d && reach[k-1+d-1] < reach[k+1+d-1]
		from, e := k-1, edit{op: '-'}
		if insert {
			from, e.op = k+1, '+'
		}
		fromX := reach[from+d-1]
		start := fromX // of the equal lines after this edit
		if insert {
			e.line = b[fromX-from]
		} else {
			e.line = a[fromX]
			start++
		}
		for x > start {
			x--
			edits = append(edits, edit{' ', a[x]})
		}
		edits = append(edits, e)
		x, k = fromX, from
	}
	for x > 0 {
		x--
		edits = append(edits, edit{' ', a[x]})
	}
	slices.Reverse(edits)
	return edits
}
