package page_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

var shots = flag.String("shots", "", "write screenshots of every view to this directory")

// browser is a tab of a real Chromium, in front of a service.
type browser struct {
	*site
	t    *testing.T
	ctx  context.Context //nolint:containedctx // chromedp keeps the tab in it
	said *complaints
}

// complaints are what a browser is not content with.
type complaints struct {
	mu   sync.Mutex
	list []string
}

// find looks for a Chromium.
func find(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium-headless-shell", "chromium", "google-chrome", "chrome"} {
		if at, err := exec.LookPath(name); err == nil {
			return at
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("there is no Chromium: apt-get install chromium-headless-shell")
	}
	t.Skip("SKIPPED: the page was not tried: there is no Chromium here (apt-get install chromium-headless-shell)")
	return ""
}

// browse starts a browser in front of a service.
func browse(t *testing.T) *browser {
	t.Helper()
	program := find(t)
	b := &browser{site: open(t), t: t, said: &complaints{}}
	o := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("force-color-profile", "srgb"), chromedp.UserDataDir(t.TempDir()))
	ctx, closeAll := chromedp.NewExecAllocator(t.Context(), o...)
	t.Cleanup(closeAll)
	ctx, closeTab := chromedp.NewContext(ctx, chromedp.WithListener(b.said.listen))
	t.Cleanup(closeTab)
	b.ctx = ctx
	if err := chromedp.Do(ctx); err != nil { // with its own context: the browser lives as long as that
		t.Fatalf("start %s: %v", program, err)
	}
	patience, stop := context.WithTimeout(ctx, 4*time.Minute)
	t.Cleanup(stop)
	b.ctx = patience
	b.do(chromedp.EmulateViewport(1280, 860))
	return b
}

// with is the same browser on behalf of a part of the test, which fails where the browser complains.
func (b *browser) with(t *testing.T) *browser {
	part := *b
	part.t = t
	t.Cleanup(func() {
		for _, c := range b.said.take() {
			t.Errorf("the browser complains: %s", c)
		}
	})
	return &part
}

// listen keeps exceptions, policies that were broken, and files that were not found.
func (c *complaints) listen(event any) {
	text := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text = fmt.Sprintf("%s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError {
			text = e.Entry.Text + " " + e.Entry.URL
		}
	}
	if text != "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.list = append(c.list, text)
	}
}

func (c *complaints) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.list
	c.list = nil
	return list
}

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatalf("%v; the page says: %.900s", err, b.text())
	}
}

// text is what the page shows.
func (b *browser) text() string {
	s, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body.innerText`))
	if err != nil {
		return err.Error()
	}
	return s
}

// eval asks the page, and waits for the answer where it promises one.
func eval[T any](b *browser, script string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%v of %.300s; the page says: %.900s", err, script, b.text())
	}
	return v
}

// until waits for an expression to be true. It asks from outside of the page's own policy, which forbids to evaluate text.
func (b *browser) until(expression string) {
	b.t.Helper()
	const wait = `new Promise((done) => { const look = () => { let ok = false; try { ok = Boolean(%s); } catch {} if (ok || ++n > 600) done(ok); else setTimeout(look, 50); }; let n = 0; look(); })`
	if !eval[bool](b, fmt.Sprintf(wait, expression)) {
		b.t.Fatalf("it never came true that %s; the page says: %.900s", expression, b.text())
	}
}

// open shows a view and waits for an element of it.
func (b *browser) open(hash, selector string) {
	b.t.Helper()
	b.do(chromedp.Navigate("about:blank"), chromedp.Navigate(b.URL+"/#/"+hash))
	b.until(`document.querySelector(` + strconv.Quote(selector) + `) && !document.querySelector("main[aria-busy]")`)
}

// move shows another view, as a link does.
func (b *browser) move(hash, selector string) {
	b.t.Helper()
	eval[chromedp.Void](b, `location.hash = `+strconv.Quote("/"+hash))
	b.until(`document.querySelector(` + strconv.Quote(selector) + `) && !document.querySelector("main[aria-busy]")`)
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector)))
}

func (b *browser) write(selector, text string) {
	b.t.Helper()
	b.do(chromedp.SendKeys(chromedp.CSS(selector), text))
}

// set replaces what an input holds.
func (b *browser) set(selector, text string) {
	b.t.Helper()
	eval[chromedp.Void](b, fmt.Sprintf(`(() => { const e = document.querySelector(%q); e.value = %q; e.dispatchEvent(new Event("input", {bubbles: true})); })()`, selector, text))
}

func (b *browser) press(keys ...string) {
	b.t.Helper()
	for _, k := range keys {
		b.do(chromedp.KeyEvent(k))
	}
}

func (b *browser) scheme(name string) {
	b.t.Helper()
	features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"}}
	b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
		return err
	}))
}

// shoot writes a screenshot of the whole page, if they are wanted.
func (b *browser) shoot(name string) {
	b.t.Helper()
	if *shots == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), png, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// violation is what axe found.
type violation struct {
	ID    string   `json:"id"`
	Help  string   `json:"help"`
	Nodes []string `json:"nodes"`
}

// accessible holds the view against axe-core's rules of WCAG 2.2 A and AA and its best practices.
func (b *browser) accessible(what string) {
	b.t.Helper()
	if !eval[bool](b, `typeof axe === "object"`) {
		eval[chromedp.Void](b, string(unzip(b.t, "axe.min.js.gz")))
	}
	found := eval[string](b, `axe.run(document, {resultTypes: ["violations"]}).then((r) => JSON.stringify(r.violations.map((v) => (
		{id: v.id, help: v.help, nodes: v.nodes.map((n) => n.target.join(" ") + ": " + n.html.slice(0, 160) + " " + (n.any[0]?.message ?? ""))}))))`)
	var list []violation
	if err := json.Unmarshal([]byte(found), &list); err != nil {
		b.t.Fatal(err)
	}
	for _, v := range list {
		b.t.Errorf("%s: %s: %s\n\t%s", what, v.ID, v.Help, strings.Join(v.Nodes, "\n\t"))
	}
}
