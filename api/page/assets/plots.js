// Plots over time: single handshakes on a logarithmic axis, the share that stalled, and what was named.

import { color } from "./dom.js";
import { clock, clockMS, date, duration, percent } from "./format.js";
import uPlot from "./uplot.js";

/** kinds of points, drawn in this order. */
export const kinds = [
  { name: "accepted at once", color: "well", is: (o, stalled) => o === "accepted" && !stalled },
  { name: "accepted after a stall", color: "stalled", is: (o, stalled) => o === "accepted" && stalled },
  { name: "refused or reset", color: "named", is: (o) => o === "refused" || o === "reset" },
  { name: "no answer", color: "failed", is: () => true },
];

const ladder = [1, 3, 7]; // seconds: when a SYN is repeated with an exponential ladder of 1 s
const laneOf = 100; // seconds: where connections without an answer are drawn
const left = 64, right = 12; // CSS pixels: the same in all plots, so that they stand below each other

const axis = (over) => ({ stroke: () => color("muted"), grid: { stroke: () => color("line"), width: 1 }, ticks: { stroke: () => color("line"), width: 1, size: 4 }, font: "12px system-ui, sans-serif", ...over });

/** times writes the splits of the time axis: hours and minutes, seconds where they are close, the day where it is new. */
function times(u, splits, _, __, step) {
  let day = "";
  return splits.map((ms) => {
    const d = new Date(ms), today = date(d).slice(5, 10);
    const text = step >= 864e5 ? today : clock(d).slice(0, step < 6e4 ? 8 : 5);
    const fresh = day !== "" && today !== day && step < 864e5;
    day = today;
    return fresh ? today : text;
  });
}

/** decades keeps of the splits of a logarithmic axis the powers of ten. */
const decades = (_, splits) => splits.map((v) => (v !== null && Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-6 ? v : null));

function options(size, range, over) {
  return { ...size, ms: 1, padding: [8, right, 0, 0], legend: { show: false },
    ...over,
    scales: { x: { time: true, range: () => range() }, ...over.scales },
    axes: [axis({ space: 64, size: 32, values: times }), axis({ size: left, ...over.y })],
    cursor: { y: false, drag: { x: true, y: false, setScale: false, dist: 6 }, sync: { key: "target" }, points: { show: false }, ...over.cursor } };
}

/** split sorts the points of a history by kind: uPlot's columns. */
export function split(p) {
  const n = p.at_ms.length;
  const kindOf = p.outcomes.map((name) => [0, 1].map((stalled) => kinds.findIndex((k) => k.is(name, stalled === 1))));
  const columns = kinds.map(() => new Array(n).fill(null));
  const sums = kinds.map(() => 0);
  for (let i = 0; i < n; i++) {
    const kind = kindOf[p.outcome[i]][p.stalled[i]];
    columns[kind][i] = p.handshake_us[i] > 0 ? p.handshake_us[i] / 1e6 : laneOf;
    sums[kind]++;
  }
  return { data: [p.at_ms, ...columns], sums };
}

/** dots draws a series as squares, each pixel once. */
const dots = (size) => (u, i, from, to) => {
  const { left: x0, top: y0, width, height } = u.bbox;
  const px = Math.max(1, Math.round(size * devicePixelRatio));
  const seen = new Uint8Array((width + 2) * (height + 2));
  const x = u.data[0], y = u.data[i];
  u.ctx.fillStyle = u.series[i].stroke(u, i);
  for (let k = from; k <= to; k++) {
    if (y[k] === null) continue;
    const cx = Math.round(u.valToPos(x[k], "x", true)), cy = Math.round(u.valToPos(y[k], "y", true));
    if (cx < x0 || cy < y0 || cx > x0 + width || cy > y0 + height) continue;
    const at = (cy - y0) * (width + 2) + cx - x0;
    if (seen[at]) continue;
    seen[at] = 1;
    u.ctx.fillRect(cx - (px >> 1), cy - (px >> 1), px, px);
  }
  return null;
};

function bands(u) {
  const { left: x0, width } = u.bbox;
  const { ctx } = u;
  ctx.save();
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textAlign = "right";
  ctx.textBaseline = "alphabetic";
  for (const s of ladder) {
    const top = u.valToPos(s * 1.25, "y", true), low = u.valToPos(s, "y", true);
    ctx.fillStyle = color("band");
    ctx.fillRect(x0, top, width, low - top);
    ctx.fillStyle = color("muted");
    ctx.fillText(`${s} s`, x0 + width - 4 * devicePixelRatio, low - 3 * devicePixelRatio);
  }
  ctx.restore();
}

/** strip plots single connections; near is told which of them the pointer is at, or -1. */
export function strip(size, range, zoomed, near) {
  const floor = { at: 1e-5 };
  const u = new uPlot(options(size, range, {
    scales: { y: { distr: 3, range: () => [floor.at, 200] } },
    y: { values: (_, splits) => splits.map((v) => (v === null ? "" : v === laneOf ? "none" : duration(v * 1e9))), space: 18, filter: decades, grid: { show: true, stroke: () => color("line"), width: 1, filter: decades }, ticks: { show: false } },
    series: [{}, ...kinds.map((k, i) => ({ label: k.name, stroke: () => color("dot-" + k.color), paths: dots(i === 0 ? 2 : 3.5), points: { show: false } }))],
    hooks: { drawClear: [bands], setSelect: [(plot) => selected(plot, zoomed)], setCursor: [(plot) => near(nearest(plot))] },
  }), [[], ...kinds.map(() => [])]);
  return { u, set: (data) => {
    let least = Infinity;
    for (const column of data.slice(1)) for (const v of column) if (v !== null && v < least) least = v;
    floor.at = 10 ** Math.floor(Math.log10(Math.min(least, 1e-3)));
    u.setData(data);
  } };
}

function selected(u, zoomed) {
  if (u.select.width < 6) return;
  const from = u.posToVal(u.select.left, "x"), to = u.posToVal(u.select.left + u.select.width, "x");
  u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  zoomed(from, to);
}

/** nearest is the index of the point within 12 pixels of the pointer; -1: none is. */
function nearest(u) {
  const { left: cx, top: cy } = u.cursor;
  const x = u.data[0];
  if (cx < 0 || cy < 0 || x.length === 0) return -1;
  const reach = 12;
  const lo = first(x, u.posToVal(cx - reach, "x")), hi = Math.min(first(x, u.posToVal(cx + reach, "x")), lo + 50000);
  let best = -1, least = reach * reach;
  for (let k = lo; k < hi; k++) {
    const y = u.data.slice(1).find((c) => c[k] !== null)?.[k];
    if (y === undefined) continue;
    const far = (u.valToPos(x[k], "x") - cx) ** 2 + (u.valToPos(y, "y") - cy) ** 2;
    if (far < least) [best, least] = [k, far];
  }
  return best;
}

/** first is the index of the first value that is not below v, in ascending values. */
function first(values, v) {
  let lo = 0, hi = values.length;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if (values[mid] < v) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

/** words says what a point is. */
export function words(h, i) {
  const p = h.points, of = h.series[p.series[i]];
  const lost = p.lost_syns[i] ? `, ${p.lost_syns[i] === 7 ? "7 or more" : p.lost_syns[i]} SYN${p.lost_syns[i] > 1 ? "s" : ""} lost` : "";
  return `${clockMS(new Date(p.at_ms[i]))} · ${p.handshake_us[i] ? duration(p.handshake_us[i] * 1e3) : "no answer"} · ${p.outcomes[p.outcome[i]].replace("_", " ")}${lost}${of.addr ? ` · ${of.addr}` : ""}`;
}

/** rates plots the share of connections that stalled, and on top of it that of those not accepted, in percent. */
export function rates(size, range, zoomed, near) {
  const bars = (u, i, from, to) => {
    const wide = Math.max(1, Math.abs(u.valToPos(u.stepMS ?? 60000, "x", true) - u.valToPos(0, "x", true)) - devicePixelRatio);
    u.ctx.fillStyle = u.series[i].stroke(u, i);
    const { left: x0, width } = u.bbox;
    for (let k = from; k <= to; k++) {
      if (!u.data[i][k]) continue;
      const x = u.valToPos(u.data[0][k], "x", true), y = u.valToPos(u.data[i][k], "y", true), zero = u.valToPos(0, "y", true);
      const a = Math.max(x, x0), b = Math.min(x + wide, x0 + width);
      if (b > a) u.ctx.fillRect(a, Math.min(y, zero - 2), b - a, Math.max(2, zero - y));
    }
    return null;
  };
  const u = new uPlot(options(size, range, {
    scales: { y: { range: (_, __, max) => [0, Math.min(100, Math.max(1, max * 1.1))] } },
    y: { values: (_, splits) => splits.map((v) => `${v} %`), space: 24 },
    series: [{}, { label: "stalled", stroke: () => color("dot-stalled"), paths: bars, points: { show: false } }, { label: "not accepted", stroke: () => color("dot-failed"), paths: bars, points: { show: false } }],
    hooks: { setSelect: [(plot) => selected(plot, zoomed)], setCursor: [(plot) => near(plot.cursor.left < 0 ? -1 : step(plot))] },
  }), [[], [], []]);
  return { u, set: (b) => {
    u.stepMS = b.step_s * 1000;
    const share = (part, k) => (b.attempts[k] ? (100 * part) / b.attempts[k] : 0);
    u.setData([b.at_ms, b.at_ms.map((_, k) => share(b.stalled[k] + b.attempts[k] - b.accepted[k], k)), b.at_ms.map((_, k) => share(b.attempts[k] - b.accepted[k], k))]);
  } };
}

function step(u) {
  const at = u.posToVal(u.cursor.left, "x");
  const k = first(u.data[0], at + 1) - 1;
  return k >= 0 && at < u.data[0][k] + (u.stepMS ?? 60000) ? k : -1;
}

/** bucketWords says what a step of time held. */
export const bucketWords = (b, k) => `${clockMS(new Date(b.at_ms[k])).slice(0, 5)} · ${percent(b.stalled[k], b.attempts[k])} of ${b.attempts[k].toLocaleString("en")} stalled, ` +
  `${percent(b.attempts[k] - b.accepted[k], b.attempts[k])} not accepted${b.median_us[k] ? ` · median ${duration(b.median_us[k] * 1e3)}, most ${duration(b.max_us[k] * 1e3)}` : ""}`;

/** timeline plots what was named, a row for each verdict; open is given the result that was clicked. */
export function timeline(size, range, zoomed, open) {
  const row = 26;
  let names = [], at = [];
  const u = new uPlot(options(size, range, {
    scales: { y: { range: () => [names.length, 0] } },
    y: { values: () => [], grid: { show: false }, ticks: { show: false } },
    series: [{}, { stroke: () => color("text"), points: { show: false }, paths: () => null }],
    hooks: { setSelect: [(plot) => selected(plot, zoomed)], draw: [(plot) => drawFound(plot, names, at)] },
    cursor: { bind: { click: (plot) => () => { const hit = found(plot, at); if (hit) open(hit.id); } } },
  }), [[], []]);
  return { u, rows: () => names.length, set: (results) => {
    at = results.flatMap((r) => r.causes.filter((c) => c.verdict !== "healthy").map((c) => ({ id: r.id, x: Date.parse(r.started), ...c }))).sort((a, b) => a.x - b.x);
    names = [...new Set(at.map((m) => m.verdict))];
    for (const m of at) m.y = names.indexOf(m.verdict) + 0.68;
    u.setSize({ width: u.width, height: Math.max(1, names.length) * row + 44 });
    u.setData([at.map((m) => m.x), at.map((m) => m.y)]);
  } };
}

function drawFound(u, names, at) {
  const { ctx } = u, dpr = devicePixelRatio, { left: x0, width } = u.bbox;
  ctx.save();
  ctx.font = `${11.5 * dpr}px system-ui, sans-serif`;
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  names.forEach((name, i) => {
    const y = u.valToPos(i + 0.68, "y", true);
    ctx.strokeStyle = color("line");
    ctx.beginPath();
    ctx.moveTo(x0, y);
    ctx.lineTo(x0 + width, y);
    ctx.stroke();
    ctx.fillStyle = color("muted");
    ctx.fillText(name, x0 + 2 * dpr, y - 6 * dpr);
  });
  for (const m of at) {
    const x = u.valToPos(m.x, "x", true), y = u.valToPos(m.y, "y", true), r = 5 * dpr;
    if (x < x0 - r || x > x0 + width + r) continue;
    const firm = m.level === "proven" || m.level === "confirmed";
    ctx.fillStyle = firm ? color("failed") : color("panel");
    ctx.strokeStyle = firm ? color("panel") : color("stalled");
    ctx.lineWidth = 1.5 * dpr;
    ctx.beginPath();
    ctx.moveTo(x, y - r);
    ctx.lineTo(x + r, y);
    ctx.lineTo(x, y + r);
    ctx.lineTo(x - r, y);
    ctx.closePath();
    ctx.fill();
    ctx.stroke();
  }
  ctx.restore();
}

function found(u, at) {
  let best, least = 14 * 14;
  for (const m of at) {
    const far = (u.valToPos(m.x, "x") - u.cursor.left) ** 2 + (u.valToPos(m.y, "y") - u.cursor.top) ** 2;
    if (far < least) [best, least] = [m, far];
  }
  return best;
}
