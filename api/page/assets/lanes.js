// Swim lanes: what every connection of a burst did, and the questions for link addresses beside them.

import { h, s, table } from "./dom.js";
import { count, duration, nanos } from "./format.js";

const few = 48; // lanes shown at first
const row = 20, top = 30, foot = 8; // pixels
const shortest = 1e4; // ns: below it the logarithmic axis is linear

/** lanes gives the elements: choices, the drawing, a legend and a table. */
export function lanes(round, signal) {
  const bursts = round.observations.map((o, i) => ({ o, i })).filter(({ o }) => o.attempts.length > 0 || o.neighbor?.length > 0);
  if (bursts.length === 0) return [h("p", { class: "empty" }, "No connections were opened.")];
  const worst = bursts.find(({ o }) => o.attempts.some(ill)) ?? bursts[0];
  const at = { burst: worst.i, log: true, all: false };
  const holder = h("div", { class: "lanes" });
  const tabular = h("div");
  const more = h("button", { type: "button", hidden: true, onclick: () => { at.all = true; draw(); } });
  const pick = h("select", { onchange: (e) => { at.burst = Number(e.target.value); at.all = false; draw(); } },
    bursts.map(({ o, i }) => h("option", { value: i, selected: i === at.burst }, `${i + 1}. ${o.label}: ${count(o.attempts.length, "connection")}${badly(o)}`)));
  const axis = h("select", { onchange: (e) => { at.log = e.target.value === "log"; draw(); } }, h("option", { value: "log" }, "logarithmic"), h("option", { value: "linear" }, "linear"));
  const draw = () => {
    const o = round.observations[at.burst];
    const list = at.all ? o.attempts : [...o.attempts.filter(ill), ...o.attempts.filter((a) => !ill(a))].slice(0, few).sort((a, b) => a.index - b.index);
    more.hidden = list.length === o.attempts.length;
    more.textContent = `Show all ${o.attempts.length} connections`;
    holder.replaceChildren(drawing(o, list, at.log, Math.max(320, holder.clientWidth)));
    tabular.replaceChildren(asTable(o, list));
  };
  const resize = new ResizeObserver(() => { if (holder.clientWidth !== drawn) { drawn = holder.clientWidth; draw(); } });
  let drawn = 0;
  resize.observe(holder);
  signal.addEventListener("abort", () => resize.disconnect());
  draw();
  return [h("div", { class: "row tools" }, h("label", null, "Burst ", pick), h("label", null, "Time ", axis)), holder, more, legend(),
    h("details", null, h("summary", null, "The same as a table"), tabular)];
}

const ill = (a) => a.stalled || a.outcome !== "accepted";

function badly(o) {
  const n = o.attempts.filter(ill).length;
  return n === 0 ? "" : `, ${n} not served at once`;
}

/** events of an attempt, in ns since the burst began. */
function events(a, since) {
  const list = [];
  const ns = (t) => nanos(t, since.ms) - since.ns;
  if (a.kernel?.started) list.push({ kind: "start", at: ns(a.kernel.started), say: "connect() was called" });
  let seen = 0;
  for (const x of a.syns) {
    const t = x.at ?? x.handed;
    if (!t) continue;
    const repeat = seen++ > 0 || (a.unseen_syns ?? 0) > 0;
    list.push({ kind: repeat ? "repeat" : "syn", at: ns(t), say: `SYN${repeat ? ", repeated" : ""}${x.tsval === undefined ? "" : `, TSval ${x.tsval}`}${x.frame ? `, frame ${x.frame}` : ""}` });
  }
  for (const x of a.answers) {
    if (!x.at) continue;
    const kind = x.kind === "syn_ack" ? "synack" : x.kind === "icmp" ? "icmp" : x.flags?.includes("R") ? "rst" : "other";
    const what = { synack: "SYN-ACK", icmp: `ICMP ${x.icmp ?? ""} from ${x.from ?? "?"}`, rst: "RST", other: x.kind.replace("_", " ") }[kind];
    list.push({ kind, at: ns(x.at), say: `${what}${x.tsecr === undefined ? "" : `, TSecr ${x.tsecr}`}${x.frame ? `, frame ${x.frame}` : ""}` });
  }
  return list.sort((x, y) => x.at - y.at);
}

function scale(longest, log, width, left, right) {
  const span = Math.max(longest, shortest * 10);
  const f = log ? (t) => Math.log10(1 + Math.max(0, t) / shortest) / Math.log10(1 + span / shortest) : (t) => Math.max(0, t) / span;
  return (t) => left + f(t) * (width - left - right);
}

/** grid lines: powers of ten and the seconds at which SYNs are repeated; or round steps. */
function lines(longest, log) {
  if (log) return [0, 1e5, 1e6, 1e7, 1e8, 1e9, 3e9, 7e9, 15e9, 31e9].filter((t) => t <= longest * 1.02);
  const step = [1e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 2e7, 5e7, 1e8, 2e8, 5e8, 1e9, 2e9, 5e9, 1e10].find((x) => longest / x <= 8) ?? 2e10;
  return Array.from({ length: Math.floor(longest / step) + 1 }, (_, i) => i * step);
}

function drawing(o, list, log, width) {
  const ms = Date.parse(o.started.slice(0, 19) + "Z");
  const since = { ms, ns: nanos(o.started, ms) };
  const rows = list.map((a) => ({ a, list: events(a, since) }));
  const arp = (o.neighbor ?? []).map((e) => ({ e, at: nanos(e.at, since.ms) - since.ns }));
  const longest = Math.max(1e5, ...rows.flatMap((r) => r.list.map((e) => e.at)), ...arp.map((e) => e.at));
  const narrow = width < 560;
  const left = narrow ? 56 : 150, right = narrow ? 10 : 130;
  const x = scale(longest, log, width, left, right);
  const lead = arp.length > 0 ? 1 : 0;
  const height = top + (rows.length + lead) * row + foot;
  const ticks = thinned(lines(longest, log), x).map((t) => [s("line", { class: "grid", x1: x(t), x2: x(t), y1: top - 6, y2: height - foot }), s("text", { class: "tick", x: x(t), y: 14, "text-anchor": "middle" }, t === 0 ? "0" : duration(t))]);
  const neighbours = lead ? s("g", null, s("text", { class: "label", x: 0, y: top + 13 }, arp.some(({ e }) => e.sender?.includes(":")) ? "ND" : "ARP"), arp.map(({ e, at }) =>
    s("path", { class: e.kind.includes("repl") || e.kind.includes("adv") ? "arp reply" : "arp request", d: glyph("diamond", x(at), top + 10) },
      s("title", null, `${duration(at)}: ${e.outgoing ? "sent" : "received"} ${e.kind}, ${e.sender ?? "?"} ${e.kind.includes("repl") ? "tells" : "asks for"} ${e.target ?? ""}`)))) : null;
  const drawn = rows.map((r, i) => lane(r, top + (i + lead) * row + row / 2, x, { width, left, right, narrow }));
  const stalled = list.filter((a) => a.stalled).length, silent = list.filter((a) => a.outcome !== "accepted").length;
  return s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `${o.label}: ${count(list.length, "connection")} over ${duration(longest)}, ${stalled} stalled, ${silent} not accepted. The table below has the same.` }, ticks, neighbours, drawn);
}

/** thinned leaves out lines whose words would touch. */
function thinned(times, x) {
  let last = -Infinity;
  return times.filter((t) => {
    if (x(t) - last < 46) return false;
    last = x(t);
    return true;
  });
}

const glyphs = { syn: "right", repeat: "right", synack: "circle", rst: "cross", icmp: "square", other: "dot", start: "tick" };

function lane({ a, list }, y, x, box) {
  const name = `${a.arm}${a.src ? ` :${a.src.split(":").pop()}` : ""}`;
  const answer = list.find((e) => e.kind === "synack" || e.kind === "rst" || e.kind === "icmp");
  const begin = list[0], end = answer ?? list[list.length - 1];
  const bar = begin && s("line", { class: `flow ${a.stalled ? "stalled" : a.outcome === "accepted" ? "accepted" : "silent"}`, x1: x(begin.at), x2: Math.max(x(end.at), x(begin.at) + 1), y1: y, y2: y });
  const said = a.outcome === "accepted" ? duration(a.handshake_ns) : a.outcome.replace("_", " ");
  return s("g", { class: "lane" }, s("rect", { class: "hover", x: 0, y: y - row / 2, width: box.width, height: row }),
    s("text", { class: "label", x: 0, y: y + 4 }, clipped(box.narrow ? `:${a.src?.split(":").pop() ?? a.index}` : name, box.narrow ? 8 : 22)), bar,
    list.map((e) => s("path", { class: `ev ${e.kind}`, d: glyph(glyphs[e.kind], x(e.at), y) }, s("title", null, `${duration(Math.round(e.at))}: ${e.say}`))),
    !box.narrow && s("text", { class: `outcome ${ill(a) ? (a.outcome === "accepted" ? "stalled" : "failed") : ""}`, x: box.width - box.right + 12, y: y + 4 }, said), s("title", null, `${name}: ${a.outcome}${a.reason ? `, ${a.reason}` : ""}`));
}

const clipped = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);

/** glyph is the outline of a sign around a point. */
function glyph(kind, cx, cy) {
  const x = Math.round(cx * 10) / 10;
  switch (kind) {
    case "right": return `M${x - 1} ${cy - 5}l7 5l-7 5z`;
    case "circle": return `M${x - 4} ${cy}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z`;
    case "cross": return `M${x - 4} ${cy - 4}l8 8m0 -8l-8 8`;
    case "square": return `M${x - 4} ${cy - 4}h8v8h-8z`;
    case "diamond": return `M${x} ${cy - 6}l5 6l-5 6l-5 -6z`;
    case "tick": return `M${x} ${cy - 6}v12`;
    default: return `M${x - 2} ${cy}a2 2 0 1 0 4 0a2 2 0 1 0 -4 0z`;
  }
}

function legend() {
  const item = (cls, kind, word) => h("span", { class: "swatch" }, s("svg", { viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" }, s("path", { class: cls, d: glyph(kind, 8, 8) })), word);
  return h("div", { class: "legend" }, item("ev start", "tick", "connect() called"), item("ev syn", "right", "SYN"), item("ev repeat", "right", "SYN repeated"), item("ev synack", "circle", "SYN-ACK"), item("ev rst", "cross", "RST"),
    item("ev icmp", "square", "ICMP"), item("arp request", "diamond", "ARP/ND asked"), item("arp reply", "diamond", "ARP/ND answered"));
}

function asTable(o, list) {
  const frames = (a) => (a.frames ?? []).map(([x, y]) => (x === y ? x : `${x}–${y}`)).join(", ");
  return table(`Connections of ${o.label}`, [{ name: "Arm" }, { name: "Via" }, { name: "Source" }, { name: "SYNs seen", num: true }, { name: "Lost", num: true }, { name: "Outcome" }, { name: "Handshake", num: true }, { name: "RTT", num: true }, { name: "Frames" }],
    list.map((a) => [a.arm, a.via, a.src ?? "–", a.syns.length, a.lost_syns ?? "–", a.outcome.replace("_", " ") + (a.stalled ? ", stalled" : ""), duration(a.handshake_ns), duration(a.rtt_ns), frames(a)]));
}
