//go:build screenshots

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/vipprobe/vipprobe/prober/lab"
	"github.com/vipprobe/vipprobe/prober/lab/topo"
)

//go:generate go test -tags screenshots -run TestScreenshots .

const pictures = "../../api/page/screenshots/"

// TestScreenshots makes the README's pictures: a service probes a lab's VIP, its real servers and a few others on a schedule, and a browser
// looks at its page. It is made on purpose (go generate ./cmd/vipprobe), since its pictures are never the same twice.
func TestScreenshots(t *testing.T) {
	needNamespaces(t)
	tab := look(t)
	t.Run("clocks apart", func(t *testing.T) {
		site, target := pictured(t, "recycle-vip")
		span(t, 70*time.Second) // for the strips to have something
		capture(t, tab, site+"/#/", "grid", 560, false)
		diagnosis := fmt.Sprintf("%s/#/result/%d", site, diagnosed(t, site, target))
		capture(t, tab, diagnosis, "diagnosis", 1150, false)
		capture(t, tab, diagnosis, "dark", 1150, true)
	})
	t.Run("loss", func(t *testing.T) {
		site, target := pictured(t, "syn-loss-30")
		span(t, 120*time.Second)
		page := url.Values{"job": {"web"}, "module": {"connect"}, "target": {target}, "addr": {target}}
		capture(t, tab, site+"/#/target?"+page.Encode(), "target", 860, false, chromedp.Click(chromedp.Search(`//button[.="15 min"]`)))
	})
}

// pictured builds a scenario, starts the service on its client and leads to it from here.
func pictured(t *testing.T, name string) (site, target string) {
	t.Helper()
	scenario, ok := lab.Find(name)
	if !ok {
		t.Fatalf("no scenario %s", name)
	}
	run, err := scenario.Start(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run.Close)
	h, target := run.Client(), run.Target()
	for _, port := range []uint16{8080, 8443} {
		h.Serve(topo.Service{Port: port, Then: topo.Echo})
	}
	jobs := fmt.Sprintf("  - {name: web, module: connect, interval: 5s, targets: [%q], labels: {vip: shop, role: vip}}\n", target)
	for _, m := range run.Members() {
		jobs += fmt.Sprintf("  - {name: %q, module: connect, interval: 5s, targets: [%q], labels: {vip: shop, role: member}}\n", "web "+m, m)
	}
	jobs += "  - {name: others, module: connect, interval: 5s, targets: [\"127.0.0.1:8080\", \"127.0.0.1:8443\", \"127.0.0.1:81\"]}\n"
	file := filepath.Join(t.TempDir(), "vipprobe.yml")
	config := "allow: [10.77.0.0/16, 127.0.0.1]\nmodules:\n  connect: {prober: connect, burst: 10, timeout: 4s}\njobs:\n" + jobs
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	service := vipprobe(t, "serve", "--config.file", file)
	service.SysProcAttr = h.Command(t.Context(), "true").SysProcAttr
	startBy(t, service, func() error { return h.Start(service) }).says("prober ready", 1)
	proxy := httptest.NewServer(&httputil.ReverseProxy{FlushInterval: -1, Transport: browser(h).Transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: "127.0.0.1:19115"})
	}})
	t.Cleanup(proxy.Close)
	return proxy.URL, target
}

// span lets a time go by.
func span(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// diagnosed has a target diagnosed and gives the result's number.
func diagnosed(t *testing.T, site, target string) int64 {
	t.Helper()
	resp, err := http.Post(site+"/api/v1/runs", "application/json", bytes.NewReader(fmt.Appendf(nil, `{"kind":"diagnose","target":%q}`, target)))
	if err != nil {
		t.Fatal(err)
	}
	var begun struct{ ID string }
	err = json.NewDecoder(resp.Body).Decode(&begun)
	resp.Body.Close()
	if err != nil || begun.ID == "" {
		t.Fatalf("%s %v", resp.Status, err)
	}
	var found struct{ Results []struct{ ID int64 } }
	eventually(t, func() error {
		if err := fetch(http.DefaultClient, site+"/api/v1/results?run="+begun.ID, &found); err != nil {
			return err
		}
		if len(found.Results) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	return found.Results[0].ID
}

// look opens a browser.
func look(t *testing.T) context.Context {
	t.Helper()
	o := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(tool(t, "chromium-headless-shell")), chromedp.NoSandbox,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("force-color-profile", "srgb"), chromedp.UserDataDir(t.TempDir()))
	ctx, closeAll := chromedp.NewExecAllocator(t.Context(), o...)
	t.Cleanup(closeAll)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(closeTab)
	return ctx
}

// capture takes a picture of a page, as the README shows it.
func capture(t *testing.T, tab context.Context, address, name string, height int64, dark bool, then ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}
	emulate := chromedp.Func(func(ctx context.Context, p *chromedp.Target) error {
		_, err := cdp.Call(ctx, p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
		return err
	})
	if err := chromedp.Do(tab, chromedp.EmulateViewport(1280, height), emulate, chromedp.Navigate("about:blank"), chromedp.Navigate(address)); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(tab, then...); err != nil {
		t.Fatal(err)
	}
	span(t, 3*time.Second) // until what it asks for has come
	shot, err := chromedp.Run(tab, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pictures+name+".png", small(t, shot), 0o644); err != nil { //nolint:gosec // a picture for everybody
		t.Fatal(err)
	}
}

// small is a picture in its 256 most frequent colours: a page has few others, all at the edges of letters.
func small(t *testing.T, b []byte) []byte {
	t.Helper()
	from, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	count := map[color.RGBA]int{}
	area := from.Bounds()
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(from.At(x, y)).(color.RGBA) }
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			count[at(x, y)]++
		}
	}
	var colours []color.RGBA
	for c := range count {
		colours = append(colours, c)
	}
	slices.SortFunc(colours, func(a, b color.RGBA) int { return count[b] - count[a] })
	palette := color.Palette{}
	for _, c := range colours[:min(256, len(colours))] {
		palette = append(palette, c)
	}
	nearest := map[color.RGBA]uint8{}
	to := image.NewPaletted(area, palette)
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			c := at(x, y)
			i, known := nearest[c]
			if !known {
				i = uint8(palette.Index(c)) //nolint:gosec // 256 at most
				nearest[c] = i
			}
			to.SetColorIndex(x, y, i)
		}
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, to); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
