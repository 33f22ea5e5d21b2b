// Lists: what was found, and what was asked for.

import { get } from "./api.js";
import { every, h, href, link, table } from "./dom.js";
import { date, duration } from "./format.js";

/** causes are links to a result by what it names. */
export function causes(r) {
  if (r.error) return h("span", { class: "bad" }, r.error);
  if (r.causes.length === 0) return h("span", { class: "muted" }, r.why || "nothing named");
  return r.causes.map((c, i) => [i > 0 && ", ", h("span", { class: "verdict" }, c.verdict), " ", h("span", { class: `level ${c.level}` }, c.level)]);
}

const origins = { schedule: "round", diagnosis: "diagnosis", probe: "/probe", run: "run" };

/** resultsTable lists rounds. */
export function resultsTable(caption, list, withTarget) {
  const columns = [{ name: "Time" }, withTarget && { name: "Target" }, { name: "What" }, { name: "Named" }, { name: "Stalled", num: true }, { name: "Took", num: true }].filter(Boolean);
  return table(caption, columns, list.map((r) => [
    h("a", { href: href(`result/${r.id}`), class: "nowrap" }, date(new Date(r.started))),
    withTarget && h("span", { class: "nowrap" }, r.target, r.addr && r.addr !== r.target && h("span", { class: "muted small" }, " ", r.addr)),
    h("span", { class: "nowrap" }, origins[r.origin] ?? r.origin, r.job && h("span", { class: "muted small" }, " ", r.job)),
    causes(r), `${r.stalled}/${r.attempts}`, duration(r.duration_ns)].filter((c) => c !== undefined && c !== false)));
}

/** pages shows a list page by page. */
async function pages(root, path, params, field, draw, signal) {
  const list = [];
  const holder = h("div");
  const more = h("button", { type: "button", hidden: true }, "Older");
  root.append(holder, more);
  let next = "";
  const load = async () => {
    const got = await get(path, { ...params, limit: 100, cursor: next }, signal);
    list.push(...got[field]);
    next = got.next;
    more.hidden = !next;
    holder.replaceChildren(draw(list));
  };
  more.addEventListener("click", () => load().catch((err) => holder.append(h("p", { class: "notice bad" }, err.message))));
  await load();
  return async () => { // anew, unless somebody went back in time
    if (list.length > 100) return;
    list.length = 0;
    next = "";
    await load();
  };
}

/** results lists findings. */
export async function results(root, at, signal) {
  const only = at.query.get("only") ?? "named";
  const verdict = at.query.get("verdict") ?? "";
  const choice = (value, word) => h("a", { class: "chip", href: href("results", { only: value, verdict }), "aria-current": only === value ? "true" : undefined }, word);
  root.append(h("div", { class: "head" }, h("h1", null, "Findings"), verdict && h("p", { class: "muted" }, "Only ", h("span", { class: "verdict" }, verdict), " · ", link("results", null, "all"))),
    h("div", { class: "chips", role: "group", "aria-label": "Which" }, choice("named", "a cause was named"), choice("wrong", "not successful"), choice("any", "all that is kept")));
  const params = { named: { named: "true" }, wrong: { success: "false" }, any: {} }[only] ?? {};
  const draw = (list) => (list.length > 0 ? resultsTable("Findings, the newest first", list, true) : h("p", { class: "empty" }, "Nothing was found. Rounds in which all went well are not listed."));
  const again = await pages(root, "results", { ...params, verdict }, "results", draw, signal);
  every(10000, signal, again);
}

/** runs lists what was asked for. */
export async function runs(root, at, signal) {
  root.append(h("div", { class: "head" }, h("h1", null, "Runs"), h("p", { class: "muted" }, "Probes and diagnoses that somebody asked for.")));
  const draw = (list) => (list.length > 0 ? table("Runs, the newest first", [{ name: "Begun" }, { name: "What" }, { name: "Target" }, { name: "State" }], list.map((r) => [
    h("a", { href: href(`run/${r.id}`), class: "nowrap" }, date(new Date(r.created))), r.request.kind, r.request.target,
    [h("span", { class: `run ${r.state}` }, r.state), r.error && h("span", { class: "bad small" }, " ", r.error)]]))
    : h("p", { class: "empty" }, "None yet. ", link("new", null, "Begin one.")));
  const again = await pages(root, "runs", {}, "runs", draw, signal);
  every(5000, signal, again);
}
