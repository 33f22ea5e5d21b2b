// TSvals against time: the clocks behind a diagnosis, and every SYN by whether it was answered.

import { h, s } from "./dom.js";
import { duration, nanos } from "./format.js";

const circle = 2 ** 32;
const most = 3000; // SYNs drawn

/** behind is how far a lies behind b on the circle of TSvals; negative: ahead (RFC 7323, section 5.2: modulo 2^32). */
const behind = (a, b) => ((b - a) | 0);

/** clocks gives the elements, or null where the round has too little to draw. */
export function clocks(round, signal) {
  const ms = Date.parse(round.started.slice(0, 19) + "Z"), zero = nanos(round.started, ms);
  const when = (t) => nanos(t, ms) - zero;
  const series = (round.diagnosis?.clocks ?? []).map((c) => ({ ...c, points: c.points.map((p) => ({ ...p, at: when(p.at) })) })).filter((c) => c.points.length > 0);
  const syns = [];
  for (const o of round.observations) {
    for (const a of o.attempts) {
      const last = a.syns.length - 1; // which SYN was answered is known by the echoed TSval; a segment that echoes none answers the last
      const met = a.answers.length > 0 ? a.answered_syn ?? last : -1;
      a.syns.forEach((x, i) => {
        if (x.tsval !== undefined && x.at) syns.push({ at: when(x.at), tsval: x.tsval, answered: i === met, via: a.via, arm: a.arm });
      });
    }
  }
  if (series.length === 0 && !syns.some((x) => x.via === "raw")) return null;
  const at = { view: series.length > 1 ? "clocks" : "circle" };
  const holder = h("div", { class: "lanes" });
  const draw = () => holder.replaceChildren(drawing(series, thin(syns), at.view, Math.max(320, holder.clientWidth)));
  const pick = h("select", { onchange: (e) => { at.view = e.target.value; draw(); } },
    [["clocks", "the clocks, and SYNs near them"], ["circle", "all 2³² values"]].filter(([v]) => v === "circle" || series.length > 0).map(([v, word]) => h("option", { value: v, selected: v === at.view }, word)));
  let drawn = 0;
  const resize = new ResizeObserver(() => { if (holder.clientWidth !== drawn) { drawn = holder.clientWidth; draw(); } });
  resize.observe(holder);
  signal.addEventListener("abort", () => resize.disconnect());
  draw();
  return [h("div", { class: "row tools" }, h("label", null, "Show ", pick)), words(series), holder, legend(series)];
}

const thin = (list) => (list.length <= most ? list : list.filter((_, i) => i % Math.ceil(list.length / most) === 0));

/** words tells the inversion: which clock lies behind which, and by how much. */
function words(series) {
  const own = series.find((c) => c.of === "own_kernel"), remembered = series.find((c) => c.of === "remembered");
  if (!own || !remembered) return "";
  const a = own.points[own.points.length - 1], b = remembered.points[remembered.points.length - 1];
  const hz = own.hz || 1000;
  const gap = behind(a.tsval + Math.round(((b.at - a.at) / 1e9) * hz), b.tsval);
  const long = `${Math.abs(gap).toLocaleString("en")} ticks (${span(Math.abs(gap) / hz)} at ${hz} Hz)`;
  return h("p", null, gap > 0 ? `The clock of ${own.name} lies ${long} behind what is ${remembered.name}: PAWS takes its SYNs for old ones.` : `The clock of ${own.name} lies ${long} ahead of what is ${remembered.name}.`);
}

function span(seconds) {
  if (seconds >= 172800) return `${(seconds / 86400).toFixed(1)} days`;
  if (seconds >= 7200) return `${(seconds / 3600).toFixed(1)} h`;
  return duration(seconds * 1e9);
}

const colors = { own_kernel: "own", remembered: "remembered", others: "others" };

function legend(series) {
  const item = (node, word) => h("span", { class: "swatch" }, s("svg", { viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" }, node), word);
  return h("div", { class: "legend" }, series.map((c) => item(s("path", { class: `clock ${colors[c.of] ?? "others"}`, d: "M0 8h16" }), `${c.name}${c.hz ? `, ${c.hz} Hz` : ""}${c.note ? `, ${c.note}` : ""}`)),
    item(s("circle", { class: "shot answered", cx: 8, cy: 8, r: 3 }), "SYN answered"), item(s("path", { class: "shot silent", d: "M5 5l6 6m0-6l-6 6" }), "SYN without answer"),
    series.some((c) => c.of === "remembered") && item(s("rect", { class: "refused", width: 16, height: 16 }), "older than what is remembered: dropped"));
}

function drawing(series, syns, view, width) {
  const height = 300, box = { left: width < 560 ? 74 : 96, right: width - 12, top: 10, low: height - 26 };
  const end = Math.max(1e6, ...syns.map((p) => p.at), ...series.flatMap((c) => c.points.map((p) => p.at)));
  const x = (t) => box.left + (t / end) * (box.right - box.left);
  const remembered = series.find((c) => c.of === "remembered");
  const frame = view === "circle" ? { low: 0, high: circle, of: (v) => v } : around(series, remembered ?? series[0]);
  const y = (v) => box.low - ((v - frame.low) / (frame.high - frame.low)) * (box.low - box.top);
  const inside = (v) => v >= frame.low && v <= frame.high;
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((f) => frame.low + f * (frame.high - frame.low));
  const shown = syns.filter((p) => inside(frame.of(p.tsval)));
  const label = `TSvals over ${duration(end)}: ${series.map((c) => `${c.name}, ${c.points.length} points`).join("; ")}; ${shown.length} SYNs, of which ${shown.filter((p) => !p.answered).length} went unanswered`;
  return s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
    remembered && refused(remembered, frame, view, box, y),
    ticks.map((v) => [s("line", { class: "grid", x1: box.left, x2: box.right, y1: y(v), y2: y(v) }), s("text", { class: "tick", x: box.left - 6, y: y(v) + 4, "text-anchor": "end" }, big(v === circle ? v : ((v % circle) + circle) % circle))]),
    [0, 0.25, 0.5, 0.75, 1].map((f) => s("text", { class: "tick", x: x(f * end), y: height - 8, "text-anchor": f === 0 ? "start" : f === 1 ? "end" : "middle" }, f === 0 ? "0" : duration(f * end))),
    series.map((c) => line(c, frame, end, x, y)),
    shown.map((p) => shot(p, x(p.at), y(frame.of(p.tsval)))));
}

/** around is the part of the circle that holds all clocks, unrolled about one of them. */
function around(series, about) {
  const base = about.points[0].tsval;
  const of = (v) => base - behind(v, base);
  const all = series.flatMap((c) => c.points.map((p) => of(p.tsval)));
  const low = Math.min(...all), high = Math.max(...all), pad = Math.max(1000, (high - low) * 0.15);
  return { low: low - pad, high: high + pad, of };
}

function refused(c, frame, view, box, y) {
  const last = c.points[c.points.length - 1];
  const v = frame.of(last.tsval), half = circle / 2;
  const rect = (from, to) => {
    const a = Math.max(from, frame.low), b = Math.min(to, frame.high);
    return b > a && s("rect", { class: "refused", x: box.left, width: box.right - box.left, y: y(b), height: y(a) - y(b) });
  };
  return s("g", null, rect(v - half, v), view === "circle" && v < half && rect(v + half, circle));
}

/** line draws a clock: its points, how exact they are, and how it goes on where its rate is known. */
function line(c, frame, end, x, y) {
  const cls = colors[c.of] ?? "others";
  const first = c.points[0], last = c.points[c.points.length - 1];
  const on = (t, p) => frame.of(p.tsval) + (c.hz ? ((t - p.at) / 1e9) * c.hz : 0);
  const from = c.hz ? [0, on(0, first)] : [first.at, frame.of(first.tsval)], to = c.hz ? [end, on(end, last)] : [last.at, frame.of(last.tsval)];
  return s("g", null, s("path", { class: `clock far ${cls}`, d: `M${x(from[0])} ${y(from[1])}L${x(to[0])} ${y(to[1])}` }),
    s("path", { class: `clock ${cls}`, d: "M" + c.points.map((p) => `${x(p.at)} ${y(frame.of(p.tsval))}`).join("L") }),
    c.points.map((p) => s("circle", { class: `point ${cls}`, cx: x(p.at), cy: y(frame.of(p.tsval)), r: 3 }, s("title", null, `${c.name}: ${p.tsval}${p.within ? ` to ${p.within} less` : ""} at ${duration(p.at)}`))));
}

const shot = (p, x, y) => (p.answered ? s("circle", { class: "shot answered", cx: x, cy: y, r: 2.5 }, s("title", null, `${p.arm}: TSval ${p.tsval}, answered`))
  : s("path", { class: "shot silent", d: `M${x - 3} ${y - 3}l6 6m0-6l-6 6` }, s("title", null, `${p.arm}: TSval ${p.tsval}, no answer`)));

const big = (v) => (v >= 1e6 ? `${(v / 1e6).toLocaleString("en", { maximumFractionDigits: v >= 1e9 ? 0 : 1 })} M` : Math.round(v).toLocaleString("en"));
