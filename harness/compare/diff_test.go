package compare

import (
	"math/rand/v2"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
)

func TestUnifiedDiff(t *testing.T) {
	a := strings.Fields("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20")
	b := strings.Fields("1 2 3 4 five 6 7 8 9 10 11 12 13 14 15 16 17 19 20 21")
	want := `--- left
+++ right
@@ -2,7 +2,7 @@
 2
 3
 4
-5
+five
 6
 7
 8
@@ -15,6 +15,6 @@
 15
 16
 17
-18
 19
 20
+21
`
	assert.Equal(t, unifiedDiff("left", "right", a, b), want)
	assert.Equal(t, unifiedDiff("left", "right", a, a), "")
	assert.Equal(t, unifiedDiff("left", "right", nil, nil), "")
}

// TestDiffLinesKeepsBothSides: the '-' and ' ' lines of a diff are a, its '+' and ' ' lines are b.
func TestDiffLinesKeepsBothSides(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	words := []string{"a", "b", "c", "d"}
	text := func() []string {
		var lines []string
		for range rnd.IntN(30) {
			lines = append(lines, words[rnd.IntN(len(words))])
		}
		return lines
	}
	for range 2000 {
		a, b := text(), text()
		var gotA, gotB []string
		for _, e := range diffLines(a, b) {
			if e.op != '+' {
				gotA = append(gotA, e.line)
			}
			if e.op != '-' {
				gotB = append(gotB, e.line)
			}
		}
		assert.DeepEqual(t, gotA, a)
		assert.DeepEqual(t, gotB, b)
	}
}

func TestDiffLinesIsShortest(t *testing.T) {
	edits := diffLines(strings.Split("abcabba", ""), strings.Split("cbabac", ""))
	changes := 0
	for _, e := range edits {
		if e.op != ' ' {
			changes++
		}
	}
	assert.Equal(t, changes, 5)
}

// TestDiffLinesGivesUp: texts with nothing in common are shown one after the other, without the
// quadratic search.
func TestDiffLinesGivesUp(t *testing.T) {
	a, b := make([]string, 3000), make([]string, 3000)
	for i := range a {
		a[i], b[i] = "left", "right"
	}
	edits := diffLines(a, b)
	assert.Equal(t, len(edits), 6000)
	assert.Equal(t, edits[0].op, byte('-'))
	assert.Equal(t, edits[5999].op, byte('+'))
}
