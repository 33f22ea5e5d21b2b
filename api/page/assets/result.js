// One diagnosis, or one round: what it says, why, and everything that was seen.

import { captureHref, get, roundHref, startRun } from "./api.js";
import { h, href, link, s, say, table } from "./dom.js";
import { chance, count, date, duration } from "./format.js";
import { clocks } from "./clocks.js";
import { lanes } from "./lanes.js";
import { causes } from "./lists.js";

/** show draws a result by its id. */
export async function show(root, at, signal) {
  const r = await get(`results/${encodeURIComponent(at.arg)}`, null, signal);
  const target = { job: r.job, module: r.job && r.module, target: r.target, addr: r.addr };
  root.append(h("p", { class: "crumbs" }, link("", null, "Targets"), " › ", h("a", { href: href("target", target) }, r.target)));
  await draw(root, r, signal);
}

const origins = { schedule: "a scheduled round", diagnosis: "a diagnosis that a scheduled round called for", probe: "asked for through /probe", run: "asked for" };

/** draw adds a result with its round, where that is kept. */
export async function draw(root, r, signal, inRun) {
  const round = r.detail ? await get(`results/${r.id}/round`, null, signal) : null;
  const failure = h("p", { class: "notice bad", role: "alert", hidden: true });
  root.append(h("div", { class: "head" }, h(inRun ? "h2" : "h1", null, r.addr && r.addr !== r.target ? `${r.target} (${r.addr})` : r.target),
    h("p", { class: "muted" }, [date(new Date(r.started)), r.duration_ns && `took ${duration(r.duration_ns)}`, origins[r.origin], r.member && "a real server behind it",
      round?.kernel && `from Linux ${round.kernel}`].filter(Boolean).join(" · "))),
  h("div", { class: "row actions" },
    !inRun && h("button", { type: "button", id: "again", class: "primary", onclick: (e) => again(e.currentTarget, r, failure, signal) }, "Run again"),
    r.capture && h("a", { class: "button", href: captureHref(r.id), download: `vipprobe-${r.id}.pcapng` }, "Evidence (pcapng)"),
    r.detail && h("a", { class: "button", href: roundHref(r.id), download: `vipprobe-${r.id}.json` }, "All that was seen (JSON)"),
    r.run && !inRun && link(`run/${r.run}`, null, "its run")), failure);
  if (!round) {
    root.append(h("section", { class: "panel" }, h("p", { class: "headline" }, r.headline || causes(r)), r.why && h("p", null, r.why),
      h("p", { class: "muted" }, "Only this line of it is kept: of rounds alike, one a minute is kept whole.")));
    return;
  }
  body(root, round, signal);
}

/** again repeats what a result came from. */
async function again(button, r, failure, signal) {
  button.disabled = true;
  try {
    const asked = r.run ? (await get(`runs/${r.run}`, null, signal)).request : { kind: "diagnose", target: r.target };
    const run = await startRun(asked, signal);
    location.hash = href(`run/${run.id}`);
  } catch (err) {
    if (signal.aborted) return;
    failure.textContent = err.message;
    failure.hidden = false;
    say(err.message);
    button.disabled = false;
  }
}

const section = (title, ...content) => h("section", { class: "panel" }, h("h2", null, title), ...content);

function body(root, round, signal) {
  const d = round.diagnosis ?? { causes: [] };
  if (round.error) root.append(h("p", { class: "notice bad" }, round.error));
  root.append(...d.causes.map((c) => cause(c)));
  if (d.causes.length === 0 && !round.error) root.append(h("section", { class: "panel cause" }, h("p", { class: "headline" }, d.headline || "No cause was named."), round.why && h("p", null, round.why)));
  root.append(summary(round));
  if (round.observations.length > 0) root.append(section("What every connection did", ...lanes(round, signal)));
  const plot = clocks(round, signal);
  if (plot) root.append(section("Timestamp clocks", ...plot));
  if (round.reasoning?.length > 0) root.append(section("How it was found out", reasoning(round)));
  if (d.notes?.length > 0) root.append(section("Beside it", h("div", null, d.notes.map((n) => cause(n, true)))));
  if (d.measurements?.length > 0) root.append(section("Measured", h("ul", null, d.measurements.map((m) => h("li", null, h("b", null, m.name), " ", measured(m), h("span", { class: "muted small" }, " ", m.how))))));
  if (d.testimony?.length > 0) root.append(section("What servers say of themselves", testimony(d.testimony)));
  if (round.untested?.length > 0) root.append(section("Not asked, for want of budget", h("ul", null, round.untested.map((u) => h("li", null, h("b", null, u.experiment), " ", u.question)))));
}

/** cause shows one finding. */
function cause(c, small) {
  const line = (term, value) => (value && value.length !== 0 ? [h("dt", null, term), h("dd", null, value)] : []);
  const frames = c.frames?.length > 0 ? `${c.frames.slice(0, 6).map(([a, b]) => (a === b ? a : `${a}–${b}`)).join(", ")}${c.frames.length > 6 ? " …" : ""}` : "";
  return h(small ? "div" : "section", { class: small ? "note" : `panel cause ${c.level}` },
    h(small ? "h3" : "h2", { class: "verdict-line" }, link(`verdict/${c.verdict}`, null, c.verdict), " ", h("span", { class: `level ${c.level}` }, c.level)),
    h("p", { class: "headline" }, c.summary),
    h("dl", { class: "facts" },
      line("Why", c.evidence?.length > 0 && h("ul", null, c.evidence.map((e) => h("li", null, e)))), line("Do", c.remedy), line("Unless", c.disproof),
      line("To settle", c.settle), line("Chance", c.p !== undefined && `p = ${chance(c.p)} without this cause`), line("Frames", frames)),
    c.arms?.length > 0 && arms(c.arms));
}

/** arms is the table of what differed in one variable, with a bar for the share that went unanswered. */
function arms(list) {
  const bar = (a) => s("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "well", width: a.n ? (100 * a.answered) / a.n : 0, height: 10 }), s("rect", { class: "failed", x: a.n ? 100 - (100 * a.silent) / a.n : 100, width: a.n ? (100 * a.silent) / a.n : 0, height: 10 }));
  return table("Arms", [{ name: "Arm" }, { name: "TSval", num: true }, { name: "Asked", num: true }, { name: "Answered", num: true }, { name: "Silent", num: true }, { name: "Share" }, { name: "p", num: true }],
    list.map((a) => [a.name, a.tsval?.toLocaleString("en") ?? "–", a.n, a.answered, a.silent, bar(a), chance(a.p)]));
}

/** measured writes a figure: exact, bounded, or why there is none. */
function measured(m) {
  if (m.value === undefined) return m.not_measured || "not measured";
  if (m.at_most === undefined) return `at least ${m.value} ${m.unit}`;
  return m.at_most === m.value ? `${m.value} ${m.unit}` : `${m.value} to ${m.at_most} ${m.unit}`;
}

const testimony = (list) => table("Testimony", [{ name: "Verdict" }, { name: "It is" }, { name: "Counter" }, { name: "Says" }],
  list.map((m) => [m.verdict, m.effect, h("code", null, m.counter), `${m.seen} for the ${m.expected} expected; ${m.why}`]));

function summary(round) {
  const m = round.summary;
  const figure = (term, value) => h("div", null, h("dt", null, term), h("dd", null, value));
  const outcomes = Object.entries(m.outcomes).map(([k, v]) => `${v} ${k.replace("_", " ")}`).join(", ");
  return section("In figures", h("dl", { class: "figures" }, figure("Connections", m.attempts), figure("Outcomes", outcomes || "–"), figure("Stalled", m.stalled), figure("SYNs repeated", m.retransmissions),
    figure("RTT median", duration(m.rtt_median_ns)), figure("RTT most", duration(m.rtt_max_ns)), figure("Handshake most", duration(m.handshake_max_ns)),
    m.capture_drops > 0 && figure("Frames missed", m.capture_drops)),
  round.ladder && h("p", { class: "muted small" }, `SYNs of this host are repeated after ${round.ladder.at_ns.map((t) => duration(t)).join(", ")} (${round.ladder.name}).`));
}

function reasoning(round) {
  const says = (t) => (t?.named ?? []).map((c) => `${c.verdict} ${c.level}`);
  const fresh = (t, i) => says(t).filter((c) => !says(round.reasoning[i - 1]).includes(c)); // only what a step changed
  return h("ol", { class: "steps" }, round.reasoning.map((t, i) => h("li", null, h("details", null,
    h("summary", null, h("b", null, t.asked || t.label), " ", h("span", { class: "seen" }, t.seen), fresh(t, i).map((c) => [" ", h("span", { class: `level ${c.split(" ")[1]}` }, c)])),
    h("dl", { class: "facts" }, h("dt", null, "Why"), h("dd", null, t.why), h("dt", null, "Cost"), h("dd", null, `${duration(t.took_ns)}, ${count(t.syns, "SYN")}, ${count(t.connections, "connection")}; ${t.harm}`),
      t.possible?.length > 0 && [h("dt", null, "Possible"), h("dd", null, t.possible.slice(0, 8).map((p) => `${p.verdict} ${(100 * p.odds).toPrecision(2)} %`).join(", "))],
      t.ruled_out?.length > 0 && [h("dt", null, "Ruled out"), h("dd", null, h("ul", null, t.ruled_out.map((o) => h("li", null, h("span", { class: "verdict" }, o.verdict), ": ", o.because))))])))));
}
