// The status grid: every VIP with its members, the ill ones first.

import { all } from "./api.js";
import { every, h, href, link, s, say } from "./dom.js";
import { ago, count, duration, marks, percent, states } from "./format.js";

const most = 100000; // targets
const page = 5000; // of them asked for at once
const shownFirst = 120; // groups; more on demand

/** show fills the grid and keeps it fresh. */
export async function show(root, at, signal) {
  const view = new Grid(root, at, signal);
  await view.load();
  every(() => Math.min(60000, 5000 + view.targets.length * 2), signal, () => view.load());
}

class Grid {
  constructor(root, at, signal) {
    this.signal = signal;
    this.targets = [];
    this.limit = shownFirst;
    this.state = at.query.get("state") ?? "";
    this.filter = h("input", { id: "filter", type: "search", placeholder: "name, address, job, label or verdict", autocomplete: "off", spellcheck: "false",
      value: at.query.get("q") ?? "", oninput: () => this.draw() });
    this.chips = h("div", { class: "chips", role: "group", "aria-label": "Only targets in state" });
    this.said = h("p", { class: "muted small" });
    this.list = h("ul", { class: "groups", onkeydown: (e) => this.key(e) });
    this.more = h("button", { type: "button", hidden: true, onclick: () => { this.limit *= 4; this.draw(); } });
    root.append(h("div", { class: "head" }, h("h1", null, "Targets"), this.said),
      h("div", { class: "row tools" }, h("label", { class: "grow" }, h("span", { class: "unseen" }, "Filter targets"), this.filter), this.chips), this.list, this.more);
  }

  async load() {
    const fresh = await all("targets", { limit: page }, "targets", most, this.signal);
    this.targets = fresh;
    this.groups = grouped(fresh);
    this.loaded = new Date();
    this.draw();
  }

  /** visible are the groups of which something fits the filter, with what of them is shown. */
  visible() {
    const words = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (t) => (!this.state || t.state === this.state) && words.every((w) => text(t).includes(w));
    const out = [];
    for (const g of this.groups) {
      const hits = g.members.filter(fits);
      const head = g.head && fits(g.head);
      if (head || hits.length > 0) out.push({ ...g, members: head && !this.state ? g.members : hits });
    }
    return out;
  }

  draw() {
    const focused = this.list.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
    const groups = this.visible();
    this.list.replaceChildren(...groups.slice(0, this.limit).map(card));
    this.more.hidden = groups.length <= this.limit;
    this.more.textContent = `Show more of the ${groups.length - this.limit} left`;
    this.drawChips();
    const ill = this.targets.filter((t) => states[t.state].rank < 4).length;
    this.said.textContent = this.targets.length === 0 ? "" : `${count(this.targets.length, "address", "addresses")}, ${ill === 0 ? "all well or waiting" : `${ill} not well`}`;
    if (groups.length === 0) this.list.append(h("li", { class: "empty" }, this.empty()));
    this.rove(focused);
  }

  empty() {
    if (this.targets.length > 0) return "Nothing fits the filter.";
    return ["Nothing is scheduled: the configuration has no jobs. ", link("new", null, "Run one probe or diagnosis"), " meanwhile."];
  }

  drawChips() {
    const sums = {};
    for (const t of this.targets) sums[t.state] = (sums[t.state] ?? 0) + 1;
    const chip = (state, word, sign, n) => h("button", { type: "button", class: `chip ${state || "any"}`, "aria-pressed": String(this.state === state), "data-state": state,
      onclick: () => { this.state = state; this.draw(); say(`${this.visible().length} groups shown`); } },
    sign && h("span", { "aria-hidden": "true" }, sign), `${word} ${n.toLocaleString("en")}`);
    const had = this.chips.contains(document.activeElement) ? document.activeElement.dataset.state : undefined;
    this.chips.replaceChildren(chip("", "all", "", this.targets.length),
      ...Object.entries(states).filter(([k]) => sums[k] || this.state === k).map(([k, v]) => chip(k, v.word, v.sign, sums[k] ?? 0)));
    if (had !== undefined) [...this.chips.children].find((c) => c.dataset.state === had)?.focus();
  }

  /** rove leaves one cell in the order of Tab; arrows do the rest. */
  rove(key) {
    const cells = [...this.list.querySelectorAll("a.cell")];
    const at = cells.find((c) => c.dataset.key === key) ?? cells[0];
    for (const c of cells) c.tabIndex = c === at ? 0 : -1;
    if (key !== undefined) at?.focus({ preventScroll: true });
  }

  key(e) {
    const cells = [...this.list.querySelectorAll("a.cell")];
    const from = cells.indexOf(document.activeElement);
    if (from < 0) return;
    const to = { ArrowDown: () => beside(cells, from, 0, 1), ArrowUp: () => beside(cells, from, 0, -1), ArrowRight: () => beside(cells, from, 1, 0),
      ArrowLeft: () => beside(cells, from, -1, 0), Home: () => cells[0], End: () => cells[cells.length - 1] }[e.key]?.();
    if (!to) return;
    e.preventDefault();
    cells[from].tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  }
}

/** beside finds the cell that lies next in a direction, as the eye would; in a single column all lie below each other. */
function beside(cells, from, dx, dy) {
  const a = cells[from].getBoundingClientRect();
  let best, least = Infinity;
  for (const c of cells) {
    const b = c.getBoundingClientRect();
    const along = dx ? dx * (b.left - a.left) : dy * (b.top - a.top);
    const across = dx ? Math.abs(b.top - a.top) : Math.abs(b.left - a.left);
    if (along < 4) continue;
    const far = along + 3 * across;
    if (far < least) [best, least] = [c, far];
  }
  return best ?? cells[from + dx + dy];
}

/** grouped puts VIPs and their members together; the ill groups first, else in the order of the service. */
export function grouped(targets) {
  const by = new Map();
  for (const t of targets) {
    const name = t.group || `${t.target}\n${t.job}`;
    if (!by.has(name)) by.set(name, { name: t.group || t.target, all: [] });
    by.get(name).all.push(t);
  }
  const groups = [...by.values()].map((g) => {
    const heads = g.all.filter((t) => t.role === "vip");
    const head = g.all.length === 1 ? g.all[0] : heads.length === 1 ? heads[0] : undefined;
    return { name: g.name, head, members: g.all.filter((t) => t !== head), rank: Math.min(...g.all.map((t) => states[t.state].rank)) };
  });
  return groups.map((g, i) => [g, i]).sort(([a, i], [b, k]) => a.rank - b.rank || i - k).map(([g]) => g);
}

const text = (t) => [t.target, t.addr, t.job, t.module, t.group, ...Object.values(t.labels ?? {}), t.state, ...t.causes.map((c) => c.verdict),
  ...(t.diagnosis?.causes ?? []).map((c) => c.verdict)].join(" ").toLowerCase();

const worst = (g) => [g.head, ...g.members].filter(Boolean).reduce((a, t) => (states[t.state].rank < states[a].rank ? t.state : a), "well");

function card(g) {
  const several = g.members.length > 0;
  return h("li", { class: `group ${worst(g)}` },
    several && h("h2", null, g.name, h("span", { class: "muted small" }, ` ${count(g.members.length, g.head ? "member" : "address", g.head ? "members" : "addresses")}`)),
    g.head && cell(g.head, !several || g.head.target !== g.name, several ? "VIP" : ""),
    several && h("ul", { class: "members" }, g.members.map((t) => h("li", null, cell(t, true, "")))));
}

/** target is the address of a target's view. */
export const targetHref = (t) => href("target", { job: t.job, module: t.module, target: t.target, addr: t.addr });

/** named is what a target's last round, or the diagnosis that it called for, says. */
function named(t) {
  const list = [t.diagnosis?.causes, t.causes].find((c) => c?.length > 0) ?? [];
  return list[0];
}

function cell(t, bold, role) {
  const st = states[t.state];
  const cause = named(t);
  const addr = t.addr && t.addr !== t.target ? t.addr : "";
  return h("a", { class: `cell ${t.state}`, href: targetHref(t), "data-key": [t.job, t.target, t.addr].join("\n") },
    h("span", { class: `sign ${t.state}`, title: st.word }, h("span", { "aria-hidden": "true" }, st.sign), h("span", { class: "unseen" }, st.word + ":")),
    h("span", { class: "names" }, h("span", { class: bold ? "name strong" : "name" }, t.target), role && h("span", { class: "tag" }, role), addr && h("span", { class: "muted small" }, " ", addr)),
    h("span", { class: "rate" }, stalls(t)),
    h("span", { class: "what small" }, cause && cause.verdict !== "healthy" ? [h("span", { class: "verdict" }, cause.verdict), " ", h("span", { class: `level ${cause.level}` }, cause.level)]
      : h("span", { class: "muted" }, t.why || (t.state === "pending" ? "not probed yet" : `${duration(t.handshake_median_ns)} median`))),
    recent(t), h("span", { class: "muted small when" }, t.started ? ago(new Date(t.started)) : ""));
}

const stalls = (t) => (t.recent_attempts ? [h("span", { class: t.recent_stalled ? "bad" : "" }, percent(t.recent_stalled, t.recent_attempts)), h("span", { class: "muted small" }, " stalled")] : "");

/** recent draws the marks of the last rounds, one column each. */
export function recent(t) {
  const sums = {};
  const paths = {};
  const n = t.recent.length;
  const heights = { well: 5, stalled: 10, named: 8, failed: 14, error: 14 };
  [...t.recent].forEach((m, i) => {
    const state = marks[m];
    sums[state] = (sums[state] ?? 0) + 1;
    const x = i * 3;
    paths[state] = (paths[state] ?? "") + `M${x} 14h2v-${heights[state]}h-2z`;
  });
  const words = Object.entries(sums).map(([k, v]) => `${v} ${states[k].word}`).join(", ");
  return s("svg", { class: "recent", viewBox: "0 0 180 14", preserveAspectRatio: "xMinYMid meet", role: "img", "aria-label": n ? `last ${count(n, "round")}: ${words}` : "no rounds yet" },
    Object.entries(paths).map(([state, d]) => s("path", { class: `mark ${state}`, d })));
}
