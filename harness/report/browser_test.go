package report

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/bpfreplay/bpfreplay/harness/result"
	"github.com/bpfreplay/bpfreplay/internal/need"
)

// browser is a headless Chromium, driven over pipes (the Chrome DevTools Protocol: JSON messages,
// each terminated by a zero byte).
type browser struct {
	t       *testing.T
	in      *os.File
	out     *bufio.Reader
	session string
	last    int
}

type cdpMessage struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  any             `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   json.RawMessage `json:"error,omitempty"`
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	program := need.Program(t, "chromium-headless-shell")
	theirIn, in, err := os.Pipe()
	assert.NilError(t, err)
	out, theirOut, err := os.Pipe()
	assert.NilError(t, err)
	cmd := exec.Command(program, "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(), "about:blank")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	assert.NilError(t, cmd.Start())
	theirIn.Close()
	theirOut.Close()
	b := &browser{t: t, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		// Chromium's processes write to the directory until they have exited.
		b.session = ""
		b.call("Browser.close", nil, nil)
		_ = cmd.Wait()
		in.Close()
		out.Close()
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	b.call("Page.enable", nil, nil)
	return b
}

func (b *browser) receive() *cdpMessage {
	b.t.Helper()
	text, err := b.out.ReadBytes(0)
	assert.NilError(b.t, err)
	m := new(cdpMessage)
	assert.NilError(b.t, json.Unmarshal(text[:len(text)-1], m))
	return m
}

// call calls a method of the protocol and decodes its result, unless result is nil.
func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	b.last++
	text, err := json.Marshal(cdpMessage{ID: b.last, Session: b.session, Method: method, Params: params})
	assert.NilError(b.t, err)
	_, err = b.in.Write(append(text, 0))
	assert.NilError(b.t, err)
	for {
		m := b.receive()
		if m.ID != b.last {
			continue
		}
		assert.Assert(b.t, m.Error == nil, "%s: %s", method, m.Error)
		if result != nil {
			assert.NilError(b.t, json.Unmarshal(m.Result, result))
		}
		return
	}
}

// open shows a file in a window of this width.
func (b *browser) open(file string, width int, scheme string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]string{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	b.call("Page.navigate", map[string]any{"url": (&url.URL{Scheme: "file", Path: file}).String()}, nil)
	for b.receive().Method != "Page.loadEventFired" {
	}
}

// eval decodes the value of an expression in the page.
func (b *browser) eval(expression string, value any) {
	b.t.Helper()
	var out struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &out)
	assert.Assert(b.t, out.ExceptionDetails == nil, "%s: %s", expression, out.ExceptionDetails)
	assert.NilError(b.t, json.Unmarshal(out.Result.Value, value), "%s", expression)
}

// press presses a key.
func (b *browser) press(key string, code int) {
	b.t.Helper()
	text := ""
	if key == "Enter" {
		text = "\r"
	}
	for _, kind := range []string{"keyDown", "keyUp"} {
		b.call("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text}, nil)
		text = ""
	}
}

// shot writes a picture of the whole page into the directory BPFREPLAY_TEST_SHOTS, for inspection.
func (b *browser) shot(name string) {
	dir := os.Getenv("BPFREPLAY_TEST_SHOTS")
	if dir == "" {
		return
	}
	b.t.Helper()
	var out struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &out)
	data, err := base64.StdEncoding.DecodeString(out.Data)
	assert.NilError(b.t, err)
	assert.NilError(b.t, os.WriteFile(filepath.Join(dir, name+".png"), data, 0o644))
}

// tooFaint lists texts whose contrast with their background is below 4.5 (WCAG 2.2, 1.4.3, level
// AA).
const tooFaint = `(() => {
	const rgb = c => c.match(/[\d.]+/g).map(Number);
	const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
	const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] !== 0) return c; } return [255, 255, 255]; };
	const bad = [];
	for (const e of document.querySelectorAll("body *")) {
		if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility()) continue;
		const a = light(rgb(getComputedStyle(e).color)), b = light(behind(e));
		const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		if (contrast < 4.5) bad.push(e.tagName + "." + e.className + " " + contrast.toFixed(2) + ": " + e.textContent.trim().slice(0, 40));
	}
	return bad;
})()`

// cramped lists texts of several words in lines of less than ten characters, and elements that are
// wider than the window.
const cramped = `(() => {
	const bad = [];
	if (document.documentElement.scrollWidth > innerWidth) bad.push("the page is " + document.documentElement.scrollWidth + " wide");
	for (const e of document.querySelectorAll(".says, .loads, .failure, .warn, .about, .said td, .changes td, .bad td, .differences td")) {
		if (!e.checkVisibility() || e.textContent.trim().split(/\s+/).length < 3) continue;
		const size = parseFloat(getComputedStyle(e).fontSize);
		if (e.getBoundingClientRect().width < 10 * size && e.getClientRects()[0].height > 3 * size) bad.push(e.className + " " + e.getBoundingClientRect().width + ": " + e.textContent.slice(0, 40));
	}
	return bad;
})()`

// The page is readable and usable in a browser: in a narrow window, in both colour schemes, and by
// keyboard.
func TestBrowser(t *testing.T) {
	b := startBrowser(t)
	dir := t.TempDir()
	kernel, matrix := filepath.Join(dir, "kernel.html"), filepath.Join(dir, "matrix.html")
	assert.NilError(t, os.WriteFile(filepath.Join(dir, "console.log"), nil, 0o644))
	r := changedReport()
	r.Command, r.Faults = "bpfreplay vmtest --suite kernel --case 'now_*' --case known_bad", map[string]string{"told": "kasan:once"}
	r.Cases[0].First = &result.CaseReport{Name: "fine", Failures: []string{"the guest's kernel complained (kasan): BUG: KASAN"}}
	r.Cases[4].Folder = filepath.Join(dir, "failed", "now_bad")
	r.Splats = []string{"warning: WARNING: CPU: 0 PID: 1 at kernel/bpf/verifier.c:4711 check_mem_access+0x12/0x34"}
	r.Accelerator, r.Seconds = "tcg", result.Seconds{Boot: 2.4, Suite: 3.1, Total: 6}
	for i := range r.Cases {
		r.Cases[i].Seconds = float64(i) / 7
	}
	assert.NilError(t, WriteHTML(kernel, r))
	assert.NilError(t, WriteMatrixHTML(matrix, result.MatrixOf(r), func(*result.KernelRun) string { return "kernel.html" }))

	for name, file := range map[string]string{"kernel": kernel, "matrix": matrix} {
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int{400, 1280} {
				b.open(file, width, scheme)
				var opened int
				b.eval(`(() => { const all = [...document.querySelectorAll("details")]; all.forEach(d => d.open = true); return all.length; })()`, &opened)
				var bad []string
				b.eval(tooFaint, &bad)
				assert.Check(t, len(bad) == 0, "%s, %d, %s:\n%s", name, width, scheme, strings.Join(bad, "\n"))
				b.eval(cramped, &bad)
				assert.Check(t, len(bad) == 0, "%s, %d, %s:\n%s", name, width, scheme, strings.Join(bad, "\n"))
				b.shot(fmt.Sprintf("%s-%s-%d", name, scheme, width))
			}
		}
	}

	// Links differ from text by more than colour, and have targets.
	b.open(kernel, 400, "light")
	var bad []string
	b.eval(`[...document.querySelectorAll("a")].filter(a => !a.matches(".count") && !getComputedStyle(a).textDecorationLine.includes("underline")).map(a => a.textContent)`, &bad)
	assert.Check(t, len(bad) == 0, "%v", bad)
	b.eval(`[...document.querySelectorAll("a[href^='#']")].filter(a => !document.getElementById(a.hash.slice(1))).map(a => a.outerHTML)`, &bad)
	assert.Check(t, len(bad) == 0, "%v", bad)
	var addresses []string
	b.eval(`[...document.querySelectorAll("a")].map(a => a.getAttribute("href"))`, &addresses)
	for _, want := range []string{"report.json", "console.log", "failed/now_bad/again.sh", "#rule-subprogram-order"} {
		assert.Check(t, strings.Contains(strings.Join(addresses, "\n")+"\n", want+"\n"), "%s: %v", want, addresses)
	}

	// A reason is not repeated for each engine.
	var times int
	b.eval(`[...document.querySelectorAll("body *")].filter(e => e.checkVisibility() && e.children.length == 0 && e.textContent.includes("map .rodata frozen: direct: true")).length`, &times)
	assert.Check(t, times == 1, "%d times", times)

	// Everything can be opened by keyboard alone, with a visible focus.
	var visited []string
	for range 200 {
		b.press("Tab", 9)
		var at struct{ Tag, Text, Outline string }
		b.eval(`(() => { const e = document.activeElement, s = getComputedStyle(e); return {Tag: e.tagName, Text: e.textContent.trim().slice(0, 30), Outline: s.outlineStyle}; })()`, &at)
		if at.Tag == "BODY" {
			break
		}
		assert.Check(t, at.Outline != "none", "%s %s", at.Tag, at.Text)
		visited = append(visited, at.Tag)
		if at.Tag == "SUMMARY" {
			var before, after bool
			b.eval(`document.activeElement.parentElement.open`, &before)
			b.press("Enter", 13)
			b.eval(`document.activeElement.parentElement.open`, &after)
			assert.Check(t, before != after, at.Text)
		}
	}
	for _, tag := range []string{"A", "SUMMARY", "INPUT"} {
		assert.Check(t, strings.Contains(strings.Join(visited, " "), tag), "%v", visited)
	}

	// The filter only shows rows that contain its words.
	var shown int
	b.eval(`(() => { const i = document.querySelector("input"); i.value = "known_bad"; i.dispatchEvent(new Event("input")); return [...document.querySelectorAll(".list > *")].filter(e => e.checkVisibility()).length; })()`, &shown)
	assert.Check(t, shown == 1, "%d rows", shown)
}
