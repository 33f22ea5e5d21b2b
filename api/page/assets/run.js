// A run: asked for, followed live, cancelled, and what it gave.

import { cancelRun, follow, get, startRun } from "./api.js";
import { h, href, link, say } from "./dom.js";
import { date, duration } from "./format.js";
import { draw } from "./result.js";

/** show follows a run; once it is over its rounds are shown below. */
export async function show(root, at, signal) {
  const run = await get(`runs/${at.arg}`, null, signal);
  const view = new Run(root, run, signal);
  if (run.state === "running") view.follow();
  else await view.over(run);
}

class Run {
  constructor(root, run, signal) {
    Object.assign(this, { run, signal, n: 0 });
    this.badge = h("span", { class: `run ${run.state}` }, run.state);
    this.cancel = h("button", { type: "button", hidden: true, onclick: () => this.stop() }, "Cancel");
    this.again = h("button", { type: "button", id: "again", class: "primary", hidden: true, onclick: () => this.repeat() }, "Run again");
    this.bar = h("progress", { "aria-label": "The run goes on", hidden: true });
    this.told = h("p", { class: "muted" });
    this.steps = h("ol", { class: "progress" });
    this.failure = h("p", { class: "notice bad", role: "alert", hidden: true });
    this.found = h("div");
    root.append(h("p", { class: "crumbs" }, link("runs", null, "Runs")), h("div", { class: "head" }, h("h1", null, `${run.request.kind === "probe" ? "Probe" : "Diagnosis"} of ${run.request.target}`),
      h("p", { class: "muted" }, `begun ${date(new Date(run.created))}${run.request.module ? ` · module ${run.request.module}` : ""}${run.request.members ? ` · with ${run.request.members.join(", ")}` : ""}`)),
    h("div", { class: "row actions" }, this.badge, this.cancel, this.again), this.bar, this.told, this.failure, this.stepsPanel = h("section", { class: "panel", hidden: true }, h("h2", null, "Progress"), this.steps), this.found);
  }

  follow() {
    this.cancel.hidden = this.bar.hidden = false;
    this.told.textContent = "The run goes on whether or not this page stays open.";
    follow(this.run.id, {
      progress: (p) => this.progress(p),
      waiting: () => {},
      broken: () => { this.told.textContent = "The connection to the service broke; trying again."; },
      end: (run) => this.over(run).catch((err) => this.fail(err)),
    }, this.signal);
  }

  progress(p) {
    this.stepsPanel.hidden = false;
    this.told.textContent = `After ${duration(p.spent_ns)}: ${p.label}`;
    say(`${p.label}: ${p.why}`);
    this.steps.append(h("li", null, h("b", null, p.label), " ", h("span", { class: "muted small" }, `at ${duration(p.spent_ns)}, ${p.shots} connections, at most ${duration(p.most_ns)}${p.addr && p.addr !== this.run.request.target ? `, ${p.addr}` : ""}`), h("br"), p.why));
    this.steps.lastElementChild.scrollIntoView({ block: "nearest" });
  }

  async over(run) {
    this.run = run;
    this.cancel.hidden = this.bar.hidden = true;
    this.again.hidden = false;
    this.badge.textContent = run.state;
    this.badge.className = `run ${run.state}`;
    this.told.textContent = run.finished ? `Ended after ${duration((Date.parse(run.finished) - Date.parse(run.created)) * 1e6)}.` : "";
    say(`The run is over: ${run.state}`);
    if (run.error) this.fail(new Error(run.error));
    const { results } = await get("results", { run: run.rounds_of || run.id, limit: 100 }, this.signal);
    if (results.length === 0 && !run.error) this.told.textContent += " It saw nothing, or what it saw is not kept any more.";
    for (const r of results.reverse()) {
      this.found.append(h("p", { class: "crumbs" }, h("a", { href: href(`result/${r.id}`) }, "This result by itself")));
      await draw(this.found, r, this.signal, true);
    }
  }

  fail(err) {
    if (this.signal.aborted) return;
    this.failure.textContent = err.message;
    this.failure.hidden = false;
  }

  async stop() {
    this.cancel.disabled = true;
    await cancelRun(this.run.id).catch((err) => this.fail(err));
  }

  async repeat() {
    this.again.disabled = true;
    try {
      const run = await startRun(this.run.request, this.signal);
      location.hash = href(`run/${run.id}`);
    } catch (err) {
      this.fail(err);
      this.again.disabled = false;
    }
  }
}

/** ask is the form of a new run. */
export async function ask(root, at, signal) {
  const service = await get("service", null, signal);
  const form = h("form", { class: "form panel", onsubmit: (e) => { e.preventDefault(); send(e.currentTarget, signal); } },
    h("label", null, "Target", h("input", { name: "target", required: true, placeholder: "192.0.2.10:443 or web.example.org:443", value: at.query.get("target") ?? "", autocomplete: "off", spellcheck: "false" })),
    h("fieldset", null, h("legend", null, "What"), h("label", { class: "check" }, h("input", { type: "radio", name: "kind", value: "diagnose", checked: true }), "Diagnose: experiments until a cause is named or ruled out"),
      h("label", { class: "check" }, h("input", { type: "radio", name: "kind", value: "probe" }), "Probe: one round of a module")),
    h("label", null, "Module", h("select", { name: "module" }, h("option", { value: "" }, `as usual (${service.default_module})`), service.modules.map((m) => h("option", { value: m }, m)))),
    h("div", { class: "only-diagnose" }, h("label", null, "Real servers behind it, to be met directly as well (one a line)", h("textarea", { name: "members", rows: "3", placeholder: "192.0.2.21:443" })),
      h("label", null, "Seconds at most", h("input", { name: "max_seconds", type: "number", min: "1", max: "600", placeholder: "60" })), hazards(service)),
    h("p", { class: "notice bad", role: "alert", hidden: true }), h("div", { class: "row" }, h("button", { class: "primary" }, "Begin")));
  form.addEventListener("change", () => { form.querySelector(".only-diagnose").hidden = form.elements.kind.value === "probe"; });
  root.append(h("div", { class: "head" }, h("h1", null, "New run"), h("p", { class: "muted" }, "Only what the configuration allows is probed, within its limits.")), form);
}

const risky = [["hold", "number", "Hold so many connections open at once"], ["backlog", "number", "Leave so many requests half-open"], ["late_reset", "checkbox", "Wait 22 s for what resets connections that are never answered"],
  ["forget_neighbor", "checkbox", "Delete this host's neighbour entry of the next hop first"], ["i_own_this_path", "checkbox", "Nobody else reaches the target from this address; it may be primed with a timestamp"]];

function hazards(service) {
  if (!service.authenticated) return h("p", { class: "muted small" }, "What can hurt a target needs a caller who has authenticated.");
  return h("details", null, h("summary", null, "What can hurt the target or others"), risky.map(([name, type, word]) =>
    h("label", { class: type === "checkbox" ? "check" : undefined }, type === "number" ? word : "", h("input", type === "number" ? { name, type, min: "1", max: "1000" } : { name, type }), type === "checkbox" ? word : "")));
}

async function send(form, signal) {
  const f = form.elements, failure = form.querySelector("[role=alert]");
  const request = { kind: f.kind.value, target: f.target.value.trim() };
  if (f.module.value) request.module = f.module.value;
  if (request.kind === "diagnose") {
    const members = f.members.value.split(/[\s,]+/).filter(Boolean);
    if (members.length > 0) request.members = members;
    if (f.max_seconds.value) request.max_seconds = Number(f.max_seconds.value);
    for (const [name, type] of risky) {
      if (type === "number" && f[name]?.value) request[name] = Number(f[name].value);
      if (type === "checkbox" && f[name]?.checked) request[name] = true;
    }
  }
  failure.hidden = true;
  try {
    const run = await startRun(request, signal);
    location.hash = href(`run/${run.id}`);
  } catch (err) {
    failure.textContent = err.message;
    failure.hidden = false;
  }
}
