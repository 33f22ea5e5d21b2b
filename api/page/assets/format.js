// How figures and times are written.

const units = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]];

/** duration writes nanoseconds with three digits. */
export function duration(ns) {
  if (ns === undefined || ns === null) return "–";
  if (ns === 0) return "0 s";
  const [size, unit] = units.find(([n]) => Math.abs(ns) >= n) ?? units[3];
  const x = ns / size;
  return `${Math.abs(x) >= 100 ? x.toFixed(0) : Number(x.toPrecision(3))} ${unit}`;
}

/** percent writes a share; never 0 % for what happened, never 100 % for what did not always. */
export function percent(part, of) {
  if (!of) return "–";
  const x = (100 * part) / of;
  if (part === 0) return "0 %";
  if (x < 0.1) return "< 0.1 %";
  if (part < of && x > 99.9) return "> 99.9 %";
  return `${x >= 10 ? x.toFixed(part === of ? 0 : 1) : x.toPrecision(2)} %`;
}

const two = (n) => String(n).padStart(2, "0");

/** clock writes a time of day, local. */
export const clock = (d) => `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;

/** clockMS writes it with milliseconds. */
export const clockMS = (d) => `${clock(d)}.${String(d.getMilliseconds()).padStart(3, "0")}`;

/** date writes a day and time, local. */
export const date = (d) => `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(d)}`;

/** ago writes how long something is past. */
export function ago(d, now = Date.now()) {
  const t = Math.max(0, (now - d.getTime()) / 1000);
  if (t < 90) return `${Math.round(t)} s ago`;
  if (t < 5400) return `${Math.round(t / 60)} min ago`;
  if (t < 129600) return `${Math.round(t / 3600)} h ago`;
  return `${Math.round(t / 86400)} days ago`;
}

/** count writes a number with its noun. */
export const count = (n, one, many = one + "s") => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

/** nanos reads an RFC 3339 time to the nanosecond, as ns since another. JavaScript's Date knows milliseconds only. */
export function nanos(text, since) {
  return (Date.parse(text.slice(0, 19) + "Z") - since) * 1e6 + fraction(text);
}

function fraction(text) {
  const m = /\.(\d+)/.exec(text);
  return m ? Number(m[1].slice(0, 9).padEnd(9, "0")) : 0;
}

/** chance writes a probability. */
export function chance(p) {
  if (p === undefined || p === null) return "–";
  return p >= 0.001 ? Number(p.toPrecision(2)).toString() : p.toExponential(1);
}

/** states of targets: their word, sign and rank, the worst first. */
export const states = {
  failed: { word: "failing", sign: "✕", rank: 0 },
  error: { word: "not probed", sign: "!", rank: 1 },
  stalled: { word: "stalls", sign: "▲", rank: 2 },
  named: { word: "cause named", sign: "◆", rank: 3 },
  pending: { word: "waiting", sign: "…", rank: 5 },
  well: { word: "well", sign: "✓", rank: 6 },
};

/** marks of recent rounds. */
export const marks = { ".": "well", s: "stalled", d: "named", f: "failed", e: "error" };
