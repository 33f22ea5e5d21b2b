// One target: its handshakes over time, its stall rate, what was named, and what to do next.

import { get, startRun } from "./api.js";
import { every, h, href, link, put, say } from "./dom.js";
import { count, date, duration, percent, states } from "./format.js";
import { recent, targetHref } from "./grid.js";
import { resultsTable } from "./lists.js";
import * as plots from "./plots.js";

const spans = [["15 min", 15], ["1 h", 60], ["6 h", 360], ["24 h", 1440], ["7 d", 10080], ["30 d", 43200]];
const mostPoints = 100000;

/** show draws a target and keeps it fresh. */
export async function show(root, at, signal) {
  const of = Object.fromEntries(["job", "module", "target", "addr"].map((k) => [k, at.query.get(k) ?? ""]));
  const view = new Target(root, of, signal);
  await view.load();
  every(() => (view.minutes > 60 ? 60000 : 15000), signal, () => (view.zoom ? Promise.resolve() : view.load()));
}

class Target {
  constructor(root, of, signal) {
    Object.assign(this, { of, signal, minutes: 60, zoom: null });
    this.range = [Date.now() - 36e5, Date.now()];
    this.state = h("div", { class: "statebox" });
    this.siblings = h("div");
    this.spans = h("div", { class: "chips", role: "group", "aria-label": "Time shown" });
    this.sums = h("figcaption", { class: "legend" });
    this.readout = h("p", { class: "readout small", "aria-hidden": "true" });
    this.note = h("p", { class: "muted small" });
    this.list = h("div");
    this.failure = h("p", { class: "notice bad", role: "alert", hidden: true });
    const figure = (name, holder, ...more) => h("figure", { class: "panel plot" }, h("h2", null, name), holder, ...more);
    this.holders = { strip: h("div", { class: "canvas", role: "img" }), rates: h("div", { class: "canvas", role: "img" }), timeline: h("div", { class: "canvas", role: "img" }) };
    this.rateReadout = h("span", { class: "readout", "aria-hidden": "true" });
    this.timelineFigure = figure("Diagnoses", this.holders.timeline, h("figcaption", { class: "muted small" }, "◆ proven or confirmed, ◇ suspected or open. Each is in the table below."));
    root.append(h("p", { class: "crumbs" }, link("", null, "Targets")),
      h("div", { class: "head" }, h("h1", null, of.target), h("p", { class: "muted" }, [of.addr !== of.target && of.addr, of.job && `job ${of.job}`, of.module && `module ${of.module}`].filter(Boolean).join(" · "))),
      this.state, this.failure, this.spans,
      figure("Handshake times", this.holders.strip, this.readout, this.sums, this.note), figure("Stall rate", this.holders.rates,
        h("figcaption", { class: "legend" }, swatch("stalled", "stalled"), swatch("failed", "not accepted"), this.rateReadout)),
      this.timelineFigure, h("section", { class: "panel" }, h("h2", null, "What went wrong"), this.list), this.siblings);
    this.plots();
    this.drawSpans();
  }

  plots() {
    const wide = () => Math.max(240, this.holders.strip.clientWidth);
    const size = (height) => ({ width: wide(), height });
    const zoomed = (from, to) => this.zoomTo([from, to]);
    const range = () => this.range;
    this.strip = plots.strip(size(320), range, zoomed, (i) => { this.readout.textContent = i < 0 ? hint : plots.words(this.history, i); });
    this.rates = plots.rates(size(150), range, zoomed, (k) => { this.rateReadout.textContent = k < 0 ? "\u00a0" : plots.bucketWords(this.history.buckets, k); });
    this.timeline = plots.timeline(size(80), range, zoomed, (id) => { location.hash = href(`result/${id}`); });
    const all = { strip: this.strip.u, rates: this.rates.u, timeline: this.timeline.u };
    for (const [k, u] of Object.entries(all)) this.holders[k].append(u.root);
    const resize = new ResizeObserver(() => { for (const u of Object.values(all)) if (u.width !== wide()) u.setSize({ width: wide(), height: u.height }); });
    resize.observe(this.holders.strip);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", () => { for (const u of Object.values(all)) u.redraw(false, true); }, { signal: this.signal });
    this.signal.addEventListener("abort", () => {
      resize.disconnect();
      for (const u of Object.values(all)) u.destroy();
    });
  }

  zoomTo(range) {
    this.zoom = range && [Math.floor(range[0]), Math.ceil(Math.max(range[1], range[0] + 1000))];
    this.drawSpans();
    this.load().catch((err) => this.fail(err));
  }

  drawSpans() {
    const had = this.spans.contains(document.activeElement);
    put(this.spans, spans.map(([word, minutes]) => h("button", { type: "button", class: "chip", "aria-pressed": String(!this.zoom && this.minutes === minutes),
      onclick: () => { this.minutes = minutes; this.zoomTo(null); } }, word)),
    this.zoom && h("button", { type: "button", class: "chip", "aria-pressed": "true", onclick: () => this.zoomTo(null) }, `${date(new Date(this.zoom[0]))} – ${date(new Date(this.zoom[1])).slice(11)} ✕`));
    if (had) this.spans.querySelector("[aria-pressed=true]")?.focus();
  }

  fail(err) {
    if (err.name === "AbortError" || this.signal.aborted) return;
    this.failure.textContent = err.message;
    this.failure.hidden = false;
  }

  async load() {
    const to = this.zoom?.[1] ?? Date.now(), from = this.zoom?.[0] ?? to - this.minutes * 60000;
    const time = { from: new Date(from).toISOString(), to: new Date(to).toISOString() };
    const { job, module, target, addr } = this.of;
    const [history, found, group] = await Promise.all([get("history", { job, module, target, addr, ...time, points: mostPoints }, this.signal),
      get("results", { target, addr, ...time, limit: 500 }, this.signal), this.loadState()]);
    if (this.signal.aborted) return;
    Object.assign(this, { history, range: [from, to] });
    const { data, sums } = plots.split(history.points);
    this.strip.set(data);
    this.rates.set(history.buckets);
    this.timelineFigure.hidden = false; // before it is drawn, so that it has a width
    this.timeline.set(found.results);
    this.timelineFigure.hidden = this.timeline.rows() === 0;
    this.describe(history, sums, found);
    this.drawState(group);
    this.failure.hidden = true;
  }

  async loadState() {
    const { job, target, addr } = this.of;
    const { targets } = await get("targets", { target, job }, this.signal);
    const own = targets.find((t) => t.addr === addr) ?? targets[0];
    if (!own?.group) return { own, all: targets };
    const g = await get("targets", { group: own.group }, this.signal);
    return { own, all: g.targets };
  }

  describe(history, sums, found) {
    const n = history.points.at_ms.length;
    this.sums.replaceChildren(...plots.kinds.map((k, i) => swatch(k.color, `${k.name} ${sums[i].toLocaleString("en")}`)));
    this.readout.textContent = hint;
    const total = (c) => history.buckets[c].reduce((a, b) => a + b, 0);
    const attempts = total("attempts"), stalled = total("stalled");
    this.note.textContent = history.points.more ? `The newest ${n.toLocaleString("en")} of ${attempts.toLocaleString("en")} connections; mark a part of the time to see all of it.`
      : n === 0 && attempts > 0 ? "Single connections of that time are not kept any more; the figures below are." : `${count(n, "connection")}.`;
    this.holders.strip.setAttribute("aria-label", `Handshake times of ${count(n, "connection")}: ${plots.kinds.map((k, i) => `${sums[i]} ${k.name}`).join(", ")}`);
    this.holders.rates.setAttribute("aria-label", `Stall rate over time: ${percent(stalled, attempts)} of ${attempts} connections stalled`);
    this.holders.timeline.setAttribute("aria-label", "Diagnoses over time; the table below lists them");
    this.list.replaceChildren(found.results.length === 0 ? h("p", { class: "empty" }, "Nothing in this time.") : resultsTable("Rounds that went wrong, and diagnoses", found.results.slice(0, 100), false));
    this.overall = [attempts, stalled];
  }

  drawState({ own, all }) {
    const [attempts, stalled] = this.overall;
    const st = own && states[own.state];
    const members = all.filter((t) => t.role === "member" && t.target !== this.of.target).map((t) => t.target);
    const begin = (request, word) => h("button", { type: "button", class: word === "Diagnose" ? "primary" : "", onclick: (e) => this.begin(e.currentTarget, request) }, word);
    const diagnose = { kind: "diagnose", target: this.of.target, members: own?.role === "vip" ? [...new Set(members)].slice(0, 64) : undefined };
    const figure = (term, value) => h("div", null, h("dt", null, term), h("dd", null, value));
    put(this.state, h("dl", { class: "figures" },
      st && figure("State", [h("span", { class: `sign ${own.state}`, "aria-hidden": "true" }, st.sign), " ", st.word]),
      figure("Stalled", [h("span", { class: stalled ? "bad" : "" }, percent(stalled, attempts)), h("span", { class: "muted small" }, ` of ${attempts.toLocaleString("en")}`)]),
      own && figure("Last median", duration(own.handshake_median_ns)), own?.recent && figure("Last rounds", recent(own))),
    h("div", { class: "row" }, begin(diagnose, "Diagnose"), begin({ kind: "probe", target: this.of.target, module: this.of.module }, "Probe once")),
    own?.headline && own.causes.some((c) => c.verdict !== "healthy") && h("p", { class: "headline" }, own.headline),
    own?.diagnosis && h("p", null, h("a", { href: href(`result/${own.diagnosis.id}`) }, "Last diagnosis"), ": ", own.diagnosis.headline));
    const others = all.filter((t) => t.target !== this.of.target || t.addr !== this.of.addr);
    put(this.siblings, others.length > 0 && h("section", { class: "panel" }, h("h2", null, own?.group ? `With it in ${own.group}` : "Its other addresses"),
      h("ul", { class: "plain siblings" }, others.slice(0, 200).map((t) => h("li", null, h("span", { class: `sign ${t.state}`, "aria-hidden": "true" }, states[t.state].sign), " ",
        h("a", { href: targetHref(t) }, t.target), ` ${states[t.state].word}`, h("span", { class: "muted small" }, ` ${t.role ?? ""} ${t.addr !== t.target ? t.addr ?? "" : ""}`))))));
  }

  async begin(button, request) {
    button.disabled = true;
    try {
      const run = await startRun(request, this.signal);
      location.hash = href(`run/${run.id}`);
    } catch (err) {
      this.fail(err);
      say(err.message);
      button.disabled = false;
    }
  }
}

const hint = "Point at a connection; drag to zoom into a time.";

const swatch = (name, word) => h("span", { class: "swatch" }, h("i", { class: name, "aria-hidden": "true" }), word);
