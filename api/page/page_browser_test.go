package page_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

var vip = "target?" + url.Values{"job": {"vips"}, "module": {"connect"}, "target": {"192.0.2.10:443"}, "addr": {"192.0.2.10:443"}}.Encode()

// TestPage tries the page in a real browser, in front of the service with what a day has left behind.
func TestPage(t *testing.T) {
	b := browse(t)
	for _, part := range []struct {
		name string
		try  func(*browser)
	}{{"grid", tryGrid}, {"keys", tryKeys}, {"target", tryTarget}, {"diagnosis", tryDiagnosis}, {"cancel", tryCancel}, {"validation", tryValidation}, {"accessible", tryAccessible}, {"run again", tryRunAgain}} {
		t.Run(part.name, func(t *testing.T) { part.try(b.with(t)) })
	}
}

func result(id int64) string { return fmt.Sprintf("result/%d", id) }

func tryGrid(b *browser) {
	for _, odd := range []string{"constructor", "toString/x", "nosuch/%zz"} { // addresses that somebody has typed
		b.open(odd, ".notice.bad")
		if text := b.text(); strings.Contains(text, "function") || strings.Contains(text, "URI") {
			b.t.Errorf("#/%s is told as a mistake of the page: %s", odd, text)
		}
	}
	b.open("", ".group .cell")
	if got := eval[int](b, `document.querySelectorAll("a.cell").length`); got != 9 {
		b.t.Errorf("%d targets are shown, want 9: %s", got, b.text())
	}
	first := eval[string](b, `document.querySelector(".group").innerText`)
	for _, want := range []string{"192.0.2.30:25", "failing:", "10 of 10 attempts were not accepted"} {
		if !strings.Contains(first, want) {
			b.t.Errorf("the first group lacks %q: %s", want, first)
		}
	}
	web := eval[string](b, `[...document.querySelectorAll(".group")].find((g) => g.innerText.includes("web.example")).innerText`)
	for _, want := range []string{"VIP", "3 members", "192.0.2.22:443", "tw_recycle_paws_drop_snat", "proven", "stalled"} {
		if !strings.Contains(web, want) {
			b.t.Errorf("the VIP's group lacks %q: %s", want, web)
		}
	}
	if text := b.text(); !strings.Contains(text, hostile) {
		b.t.Errorf("the odd name is not shown as it is: %s", text)
	}
	if title := eval[string](b, "document.title"); title != "Targets · vipprobe" {
		b.t.Errorf("the title is %q", title)
	}
	b.write("#filter", "paws member")
	b.until(`document.querySelectorAll("a.cell").length === 2 && document.querySelector(".members").innerText.includes("192.0.2.22:443")`) // with its VIP
	b.set("#filter", "")
	b.click(`[data-state="pending"]`)
	b.until(`document.querySelectorAll("a.cell").length === 1 && document.querySelector("a.cell").innerText.includes("192.0.2.40:443")`)
}

func tryKeys(b *browser) {
	b.open("", ".group .cell")
	b.press("/")
	b.until(`document.activeElement.id === "filter"`)
	b.set("#filter", "") // the debugger types a key that the page has taken
	eval[chromedp.Void](b, `document.querySelector("a.cell").focus()`)
	b.press(kb.End)
	b.until(`document.activeElement === [...document.querySelectorAll("a.cell")].at(-1)`)
	b.press(kb.Home, kb.ArrowRight)
	b.until(`document.activeElement.matches("a.cell") && document.activeElement !== document.querySelector("a.cell")`)
	if n := eval[int](b, `document.querySelectorAll('a.cell[tabindex="0"]').length`); n != 1 {
		b.t.Errorf("Tab stops at %d of the targets", n)
	}
	b.press("?")
	b.until(`document.getElementById("help").open`)
	b.press(kb.Escape)
	b.until(`!document.getElementById("help").open`)
	b.press("c")
	b.until(`document.querySelector(".entries") && document.activeElement.id === "main"`)
}

func tryTarget(b *browser) {
	b.open(vip, ".canvas canvas")
	b.until(`document.querySelector(".legend").innerText.includes("accepted at once")`)
	label := eval[string](b, `document.querySelector(".canvas").getAttribute("aria-label")`)
	if !strings.Contains(label, "100,000 connections") {
		b.t.Errorf("the plot is labelled %q", label)
	}
	// every kind of point, by its colour, and the bands of a repeated SYN
	for _, c := range []string{"dot-well", "dot-stalled", "dot-failed", "band"} {
		if n := eval[int](b, fmt.Sprintf(painted, c)); n < 20 {
			b.t.Errorf("%d pixels of the plot have the colour %s", n, c)
		}
	}
	if text := b.text(); !strings.Contains(text, "tw_recycle_paws_drop_snat") || !strings.Contains(text, "With it in web.example:443") {
		b.t.Errorf("the target's view lacks its diagnoses or members: %s", text)
	}
	b.do(chromedp.Click(chromedp.Search(`//button[.="15 min"]`)))
	b.until(`[...document.querySelectorAll(".canvas")][0].getAttribute("aria-label").match(/of (2[0-9]|3[0-9]),[0-9]{3} connections/)`)
}

// painted counts the pixels of the first plot that have a colour of the style.
const painted = `(() => {
  const c = document.querySelector(".canvas canvas"), g = c.getContext("2d"), d = g.getImageData(0, 0, c.width, c.height).data;
  const probe = new OffscreenCanvas(1, 1).getContext("2d");
  probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--%s").trim();
  probe.fillRect(0, 0, 1, 1);
  const [r, gg, b] = probe.getImageData(0, 0, 1, 1).data;
  let n = 0;
  for (let i = 0; i < d.length; i += 4) if (d[i] === r && d[i + 1] === gg && d[i + 2] === b && d[i + 3] === 255) n++;
  return n;
})()`

func tryDiagnosis(b *browser) {
	b.open(result(b.paws), ".cause .headline")
	text := b.text()
	for _, want := range []string{"tw_recycle_paws_drop_snat", "proven", "16 of 16 silent", "set net.ipv4.tcp_tw_recycle=0", "an answer that does not depend on the TSval", "quadrant 3",
		"The clock of this host's kernel lies 5", "PAWS takes its SYNs for old ones", "How it was found out"} {
		if !strings.Contains(text, want) {
			b.t.Errorf("the diagnosis lacks %q: %s", want, text)
		}
	}
	if n := eval[int](b, `document.querySelectorAll(".clock.own:not(.far), .clock.remembered:not(.far)").length`); n < 2 {
		b.t.Errorf("%d clocks are drawn", n)
	}
	if above := eval[bool](b, `(() => { const y = (c) => Number(document.querySelector("circle.point." + c).getAttribute("cy")); return y("remembered") < y("own") - 20; })()`); !above {
		b.t.Error("the clock that the server remembers is not drawn above this host's own")
	}

	// what a SYN with an older TSval met is drawn by that SYN, not by its attempt: later ones of it carry others
	if odd := eval[int](b, `[...document.querySelectorAll("circle.shot.answered")].filter((c) => Number(c.getAttribute("cy")) > Number(document.querySelector("circle.point.remembered").getAttribute("cy")) + 20).length`); odd != 0 {
		b.t.Errorf("%d SYNs older than what is remembered are drawn as answered", odd)
	}

	b.open(result(b.arp), ".lane")
	for kind, want := range map[string]int{".ev.synack": 10, ".ev.repeat": 7, ".ev.syn": 3, ".arp.request": 2, ".arp.reply": 1, ".lane": 10} {
		if n := eval[int](b, fmt.Sprintf(`document.querySelectorAll(".lanes %s").length`, kind)); n != want {
			b.t.Errorf("%d %s are drawn, want %d", n, kind, want)
		}
	}
	href := eval[string](b, `document.querySelector("a[download$=pcapng]").href`)
	answer, err := http.Get(href)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	if frames, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK || !bytes.Equal(frames, unzip(b.t, "arp.pcapng.gz")) {
		b.t.Errorf("the evidence answers %s with %d octets: %v", answer.Status, len(frames), err)
	}
}

func tryRunAgain(b *browser) {
	b.open(result(b.arp), "#again")
	b.click("#again")
	b.until(`document.querySelectorAll("ol.progress li").length === 2`)
	if text := b.text(); !strings.Contains(text, "does an answer depend on the TSval?") || strings.Contains(text, "raise it") {
		b.t.Errorf("while the run goes on, the page says %s", text)
	}
	close(b.prober.release)
	b.until(`document.querySelector(".cause .headline") && document.querySelector(".lane")`)
	if text := b.text(); !strings.Contains(text, "local_arp_queue_overflow") || !strings.Contains(text, "done") {
		b.t.Errorf("after the run, the page says %s", text)
	}
}

func tryCancel(b *browser) {
	b.open("new", "form")
	b.write("[name=target]", "198.51.100.1:443")
	b.click("form.form button.primary")
	b.until(`document.querySelector("[role=alert]").innerText.includes("allow")`)
	if refused := b.said.take(); len(refused) != 1 || !strings.Contains(refused[0], "403") {
		b.t.Errorf("the browser says %q of a target that is not allowed", refused)
	}
	b.set("[name=target]", "192.0.2.10:443")
	b.click("form.form button.primary")
	b.until(`document.querySelectorAll("ol.progress li").length === 2`)
	b.do(chromedp.Click(chromedp.Search(`//button[.="Cancel"]`)))
	b.until(`document.querySelector(".run").innerText === "cancelled"`)
}

// tryValidation: hosts are told as they are done, what failed first; a host that is not allowed ends it with the reason, and so does Cancel.
func tryValidation(b *browser) {
	b.open("validate", "form")
	b.set("[name=hosts]", "192.0.2.10:443\n192.0.2.30:443  # the odd one\n")
	b.set("[name=baseline]", "192.0.2.21:443")
	b.set("[name=checks]", "stall_ratio < 0.001\nlike baseline")
	b.click("form.form button.primary")
	b.until(`document.querySelector("main").innerText.includes("1 passed, 1 failed.")`)
	rows := eval[string](b, `[...document.querySelectorAll("main section:first-of-type tbody tr")].map((r) => r.innerText).join("\n")`)
	if !strings.HasPrefix(rows, "192.0.2.30:443") || !strings.Contains(rows, "0/2") || !strings.Contains(rows, "2/2") {
		b.t.Errorf("the hosts are shown as %q", rows)
	}
	if text := b.text(); !strings.Contains(text, "3 of 10") || !strings.Contains(text, hostile) || !strings.Contains(text, "stall_ratio < 0.001") {
		b.t.Errorf("the checks are shown as %q", text)
	}
	if saved := eval[string](b, `fetch(document.querySelector("a[download]").href).then((r) => r.text()).catch(String)`); !strings.HasPrefix(saved, "{") {
		b.said.take()
		if kind := eval[string](b, `document.querySelector("a[download]").protocol`); kind != "blob:" {
			b.t.Errorf("what is saved is %q, %q", kind, saved)
		}
	}
	b.accessible("validated")
	b.set("[name=hosts]", "192.0.2.31:443")
	b.set("[name=baseline]", "")
	b.click("form.form button.primary")
	b.until(`document.querySelector("main").innerText.includes("Measuring 192.0.2.31:443, 1 of 1.")`)
	b.do(chromedp.Click(chromedp.Search(`//button[.="Cancel"]`)))
	b.until(`document.querySelector("[role=alert]").innerText === "Cancelled."`)
	var many strings.Builder // more than may be begun at once: they wait, and are all told
	for i := range 12 {
		fmt.Fprintf(&many, "192.0.2.%d:443\n", 100+i)
	}
	b.set("[name=hosts]", many.String())
	b.click("form.form button.primary")
	b.until(`document.querySelector("main").innerText.includes("12 passed.")`)
	b.said.take()
	b.set("[name=hosts]", "198.51.100.1:443")
	b.click("form.form button.primary")
	b.until(`document.querySelector("[role=alert]").innerText.includes("allow")`)
	if refused := b.said.take(); len(refused) != 1 || !strings.Contains(refused[0], "403") {
		b.t.Errorf("the browser says %q of a host that is not allowed", refused)
	}
}

// tryAccessible tries every view in both colour schemes, wide and narrow.
func tryAccessible(b *browser) {
	b.open("", ".group .cell")
	for _, v := range []struct{ name, hash, selector string }{
		{"grid", "", ".group .cell"}, {"target", vip, ".canvas canvas"}, {"paws", result(b.paws), ".clock"}, {"arp", result(b.arp), ".lane"}, {"findings", "results", "table"},
		{"runs", "runs", "main table"}, {"new", "new", "form.form"}, {"validate", "validate", "form.form"}, {"catalogue", "verdicts", ".entries"}, {"verdict", "verdict/tw_recycle_paws_drop_snat", ".panel ol"},
	} {
		b.do(chromedp.EmulateViewport(1280, 860))
		b.move(v.hash, v.selector)
		for _, scheme := range []string{"light", "dark"} {
			b.scheme(scheme)
			b.accessible(v.name + " " + scheme)
			b.shoot(v.name + "-" + scheme)
		}
		b.do(chromedp.EmulateViewport(390, 844))
		b.until(`document.documentElement.scrollWidth <= innerWidth`)
		b.shoot(v.name + "-narrow")
	}
	b.accessible("narrow")
}
