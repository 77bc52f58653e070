package report

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"

	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/harness/run"
)

// Live shows the progress of a matrix on a terminal: a table with one row per kernel that is
// redrawn in place. Notes and the names of failing cases scroll by above it. The summary has the
// details.
type Live struct {
	out    *os.File
	draw   progress.Writer
	all    *progress.Tracker
	ticker *time.Ticker
	ended  chan struct{} // closed when drawing has ended
	stop   chan struct{}

	mu   sync.Mutex // guards what follows
	rows []*liveRow
}

// liveRow is the state of a kernel's run.
type liveRow struct {
	run    result.KernelRun
	begun  time.Time
	done   int
	counts map[result.Verdict]int
	failed int
}

// redraw is the interval between updates of the table.
const redraw = 200 * time.Millisecond

// linesBeside is how many lines a terminal needs in addition to one per kernel.
const linesBeside = 4

// NewLive starts to draw a table of this many kernels and cases. It returns nil if out is not a
// terminal, is too small or cannot redraw. The caller must call Close.
func NewLive(out *os.File, kernels, cases int) *Live {
	if !term.IsTerminal(int(out.Fd())) || os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" {
		return nil
	}
	if _, height, err := term.GetSize(int(out.Fd())); err != nil || height < kernels+linesBeside {
		return nil
	}
	l := &Live{
		out: out, draw: progress.NewWriter(),
		ticker: time.NewTicker(redraw), ended: make(chan struct{}), stop: make(chan struct{}),
		all: &progress.Tracker{Message: "all cases", Total: int64(max(cases, 1)), Units: progress.Units{
			Formatter: func(n int64) string { return fmt.Sprintf("%d/%d", n, cases) },
		}},
	}
	l.draw.SetOutputWriter(out)
	l.draw.SetUpdateFrequency(redraw)
	l.draw.SetTrackerLength(30)
	l.draw.SetTrackerPosition(progress.PositionRight)
	l.draw.SetStyle(liveStyle())
	l.draw.AppendTracker(l.all)
	l.draw.SetPinnedMessages(l.table()...)
	var both sync.WaitGroup
	both.Go(l.draw.Render)
	both.Go(l.refresh)
	go func() { both.Wait(); close(l.ended) }()
	return l
}

func liveStyle() progress.Style {
	style := progress.StyleDefault
	if unicodeTerminal() {
		style = progress.StyleBlocks
	}
	style.Options.PercentFormat, style.Options.Separator = "%3.0f%%", " "
	style.Options.TimeInProgressPrecision = time.Second
	style.Visibility.ETA, style.Visibility.Speed, style.Visibility.TrackerOverall = false, false, false
	style.Visibility.Pinned, style.Visibility.Tracker, style.Visibility.Percentage = true, true, true
	style.Visibility.Value, style.Visibility.Time = true, true
	return style
}

// unicodeTerminal reports whether the user's locale is in UTF-8, see locale(7).
func unicodeTerminal() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := os.Getenv(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// refresh updates the table, so that times advance.
func (l *Live) refresh() {
	for {
		select {
		case <-l.ticker.C:
			l.mu.Lock()
			lines := l.table()
			l.mu.Unlock()
			l.draw.SetPinnedMessages(lines...)
		case <-l.stop:
			return
		}
	}
}

// Event updates the table.
func (l *Live) Event(e run.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	row := l.row(e.Run)
	switch {
	case e.Case != nil:
		row.add(e.Case)
		l.all.Increment(1)
		if !e.Case.OK() {
			l.draw.Log(printable(fmt.Sprintf("%s  %s  %s", e.Run.Kernel, verdictOf(e.Case), e.Case.Name)))
		}
	case e.Note != "":
		l.draw.Log(printable(e.Run.Kernel + "  " + e.Note))
	case e.Run.Reason != "":
		l.all.Increment(int64(e.Run.Cases - row.done)) // count the cases that will not run
		l.draw.Log(printable(fmt.Sprintf("%s  %s: %s", e.Run.Kernel, e.Run.State, e.Run.Reason)))
	}
}

func (l *Live) row(run *result.KernelRun) *liveRow {
	for _, r := range l.rows {
		if r.run.Kernel == run.Kernel {
			if run.State == result.Running && r.begun.IsZero() {
				r.begun = time.Now()
			}
			r.run = *run
			return r
		}
	}
	r := &liveRow{run: *run, counts: make(map[result.Verdict]int)}
	l.rows = append(l.rows, r)
	return r
}

func (r *liveRow) add(c *result.CaseReport) {
	r.done++
	for _, p := range c.Verdicts {
		r.counts[p.Verdict]++
	}
	r.failed += len(c.Failures)
}

// liveVerdicts are in order of their importance to the waiting user.
var liveVerdicts = []result.Verdict{result.Different, result.Broken, result.Equal, result.Explained, result.Unsupported}

// table returns the lines of the current table. Less important columns come last, because a narrow
// terminal cuts them.
func (l *Live) table() []string {
	header := []any{"kernel", "state", "done", "time", "failed"}
	for _, v := range liveVerdicts {
		header = append(header, string(v))
	}
	t := newTable(header...)
	rightFrom(t, 3, len(header))
	for _, r := range l.rows {
		took := ""
		switch {
		case r.run.Report != nil && r.run.Report.Seconds.Total > 0:
			took = fmt.Sprintf("%.0f s", r.run.Report.Seconds.Total)
		case !r.begun.IsZero():
			took = fmt.Sprintf("%.0f s", time.Since(r.begun).Seconds())
		}
		row := table.Row{text.Snip(oneLine(r.run.Kernel), 24, "~"), r.state(), fmt.Sprintf("%d/%d", r.done, r.run.Cases), took, counted(r.failed, true)}
		for _, v := range liveVerdicts {
			row = append(row, counted(r.counts[v], v == result.Different || v == result.Broken))
		}
		t.AppendRow(row)
	}
	return strings.Split(render(t), "\n")
}

// state returns the word for the progress of a kernel.
func (r *liveRow) state() string {
	bad := r.failed > 0 || r.counts[result.Different] > 0 || r.counts[result.Broken] > 0
	switch s := r.run.State; {
	case s == result.Running && r.done == 0:
		return text.FgYellow.Sprint("booting")
	case s == result.Running && bad, s == result.Done && !r.run.Report.OK():
		return text.FgRed.Sprint(passOrFail(false))
	case s == result.Running:
		return text.FgYellow.Sprint(string(s))
	case s == result.Done:
		return text.FgGreen.Sprint(passOrFail(true))
	case s == result.Waiting || s == result.Fetching:
		return string(s)
	default:
		return text.FgRed.Sprint(string(s))
	}
}

// counted formats a number, in colour if it is bad and not zero.
func counted(n int, bad bool) string {
	switch {
	case n == 0:
		return "-"
	case bad:
		return text.FgRed.Sprint(n)
	}
	return fmt.Sprint(n)
}

// Close stops drawing and removes the table.
func (l *Live) Close() {
	close(l.stop)
	l.ticker.Stop()
	l.draw.Stop()
	<-l.ended
	fmt.Fprint(l.out, strings.Repeat(text.CursorUp.Sprint()+text.EraseLine.Sprint(), len(l.rows)+2))
}
