// The catalogue of verdicts.

import { get } from "./api.js";
import { h, link, table } from "./dom.js";

/** list shows every verdict by group. */
export async function list(root, at, signal) {
  const { verdicts } = await get("verdicts", null, signal);
  root.append(h("div", { class: "head" }, h("h1", null, "Catalogue"), h("p", { class: "muted" }, "Every cause that a diagnosis can name, and how it would prove it.")));
  const groups = new Map();
  for (const v of verdicts) groups.set(v.group, [...(groups.get(v.group) ?? []), v]);
  for (const [group, entries] of groups) {
    root.append(h("section", null, h("h2", null, group), h("ul", { class: "plain entries" }, entries.map((v) =>
      h("li", null, link(`verdict/${v.verdict}`, null, v.verdict), h("br"), h("span", { class: "muted" }, v.title))))));
  }
}

const ul = (items) => h("ul", null, (items ?? []).map((i) => h("li", null, i)));

/** show explains one verdict. */
export async function show(root, at, signal) {
  const v = await get(`verdicts/${encodeURIComponent(at.arg)}`, null, signal);
  const part = (title, content) => h("section", { class: "panel" }, h("h2", null, title), content);
  root.append(h("p", { class: "crumbs" }, link("verdicts", null, "Catalogue")), h("div", { class: "head" }, h("h1", null, v.verdict), h("p", null, v.title)),
    h("p", null, link("results", { only: "any", verdict: v.verdict }, "Where it was found here")),
    part("Looks like", ul(v.symptoms)),
    part("Because", h("ol", null, (v.mechanism ?? []).map((f) => h("li", null, f.text, h("br"), h("span", { class: "muted small" }, f.source))))),
    part("Proven by", table("Experiments", [{ name: "Experiment" }, { name: "Firmest level" }, { name: "Shows" }],
      (v.proof ?? []).map((p) => [p.experiment, h("span", { class: `level ${p.level}` }, p.level), p.shows]))),
    part("Not to be mistaken for", h("dl", null, (v.look_alikes ?? []).map((l) => [h("dt", null, link(`verdict/${l.verdict}`, null, l.verdict)), h("dd", null, l.apart)]))),
    part("What to do", h("dl", null, (v.remedies ?? []).map((r) => [h("dt", null, r.where), h("dd", null, r.do)]))),
    part("Counters that would confirm it", table("Counters", [{ name: "Where" }, { name: "Name" }, { name: "Reads" }], (v.counters ?? []).map((c) => [c.where, h("code", null, c.name), c.reads]))),
    v.scenario && h("p", { class: "muted" }, "To see it: ", h("code", null, `vipprobe lab run ${v.scenario}`)));
}
