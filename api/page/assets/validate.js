// Hosts held against a policy, one by one, from here.

import { get, validate } from "./api.js";
import { h, href, put, say, table } from "./dom.js";
import { count, duration } from "./format.js";

const usual = "no finding >= suspected\nstall_ratio < 0.001\np99 < 5ms";

/** show asks for hosts and checks, measures, and tells as each host is done. */
export async function show(root, at, signal) {
  await get("service", null, signal); // says at once when the service cannot be reached
  const area = (name, rows, props) => h("textarea", { name, rows, autocomplete: "off", spellcheck: "false", ...props });
  const found = h("div"), failure = h("p", { class: "notice bad", role: "alert", hidden: true });
  const begin = h("button", { class: "primary" }, "Begin"), stop = h("button", { type: "button", hidden: true }, "Cancel");
  const form = h("form", { class: "form panel", onsubmit: (e) => { e.preventDefault(); measure(form, { begin, stop, failure, found }, signal); } },
    h("label", null, "Hosts (one a line)", area("hosts", "4", { required: true, placeholder: "192.0.2.31:443", value: at.query.get("target") ?? "" })),
    h("label", null, "Checks (one a line)", area("checks", "5", { required: true, value: usual })),
    h("p", { class: "muted small" }, "As in a rollout file: tw_recycle = off, syn_ack_rto = 1s, timestamps = on, like baseline except mss …"),
    h("label", null, "Baseline: a host that works, which like baseline compares with", h("input", { name: "baseline", placeholder: "192.0.2.21:443", autocomplete: "off", spellcheck: "false" })),
    h("label", null, "Seconds at most for one host", h("input", { name: "seconds", type: "number", min: "1", max: "120", placeholder: "120" })),
    failure, h("div", { class: "row" }, begin, stop));
  root.append(h("div", { class: "head" }, h("h1", null, "Validation"), h("p", { class: "muted" }, "Hosts held against a policy. It lasts as long as this page stays open; what may harm a host is not done from here.")), form, found);
}

const lines = (text) => text.split("\n").map((l) => l.replace(/#.*/, "").trim()).filter(Boolean);

/** patiently asks again when the service says that it is asked too often: hosts that refuse are measured at once. */
async function patiently(request, signal) {
  for (;;) {
    try {
      return await validate(request, signal);
    } catch (err) {
      if (err.status !== 429) throw err;
    }
    await new Promise((go) => setTimeout(go, 1500));
  }
}

/** measure asks for one host after another: the service measures while its caller waits. */
async function measure(form, { begin, stop, failure, found }, signal) {
  const f = form.elements, hosts = lines(f.hosts.value), checks = lines(f.checks.value), leave = new AbortController();
  const max = f.seconds.value ? { max_seconds: Number(f.seconds.value) } : {};
  const told = h("p", { class: "muted" }), bar = h("progress", { max: hosts.length, value: 0, "aria-label": "Hosts that are measured" }), list = h("div"), done = [];
  const end = () => leave.abort();
  signal.addEventListener("abort", end);
  stop.onclick = end;
  put(found, bar, told, list);
  failure.hidden = stop.disabled = true;
  begin.disabled = true;
  stop.hidden = stop.disabled = false;
  try {
    let baseline;
    if (f.baseline.value.trim()) {
      told.textContent = `Measuring the baseline, ${f.baseline.value.trim()}.`;
      const answer = await patiently({ ...max, target: f.baseline.value.trim(), checks: ["like baseline"] }, leave.signal);
      baseline = answer.candidates[0]?.profile;
      if (!baseline) throw new Error(`The baseline ${f.baseline.value.trim()} could not be measured${answer.candidates[0]?.error ? `: ${answer.candidates[0].error}` : "."}`);
    }
    for (const [i, target] of hosts.entries()) {
      told.textContent = `Measuring ${target}, ${i + 1} of ${hosts.length}.`;
      done.push(...(await patiently({ ...max, target, checks, baseline }, leave.signal)).candidates);
      bar.value = i + 1;
      put(list, verdicts(done));
      say(`${target}: ${done.at(-1)?.state ?? "nothing"}`);
    }
    told.textContent = `${tally(done)}.`;
    say(told.textContent);
  } catch (err) {
    if (signal.aborted) return;
    told.textContent = done.length > 0 ? `${tally(done)}; the others were not measured.` : "";
    failure.textContent = leave.signal.aborted ? "Cancelled." : err.message;
    failure.hidden = false;
  }
  signal.removeEventListener("abort", end);
  bar.hidden = stop.hidden = true;
  begin.disabled = false;
}

const words = { pass: "passed", fail: "failed", unknown: "could not be told" };
const order = { fail: 0, unknown: 1, pass: 2 };

const tally = (done) => Object.entries(words).map(([state, word]) => [done.filter((c) => c.state === state).length, word]).filter(([n]) => n > 0).map(([n, word]) => `${n} ${word}`).join(", ") || "Nothing was measured";

const badge = (state) => h("span", { class: `state ${state}` }, state);

/** verdicts shows the hosts, those that failed first, and below each what did not pass. */
function verdicts(done) {
  const sorted = [...done].sort((a, b) => order[a.state] - order[b.state]);
  const name = (c) => [c.target, c.addr && c.addr !== c.target && h("span", { class: "muted small" }, " ", c.addr)];
  return [
    h("section", { class: "panel" }, h("h2", null, "Hosts"), table("Hosts, those that failed first", [{ name: "Host" }, { name: "State" }, { name: "Checks passed", num: true }, { name: "Took", num: true }, { name: "SYNs", num: true }], sorted.map((c) => [
      name(c), badge(c.state), `${c.checks.filter((r) => r.state === "pass").length}/${c.checks.length}`, duration(c.took_ns), c.syns])),
    h("p", { class: "row" }, h("a", { class: "button", download: "vipprobe-validation.json", href: save(done) }, `${count(done.length, "host")} as JSON`))),
    ...sorted.map((c) => h("section", { class: "panel" }, h("h2", null, name(c), " ", badge(c.state)), c.error && h("p", { class: "bad" }, c.error),
      h("p", null, h("a", { href: href("new", { target: c.target }) }, "Diagnose it")),
      table(`Checks of ${c.addr || c.target}`, [{ name: "Check" }, { name: "State" }, { name: "Found" }, { name: "Why" }],
        [...c.checks].sort((a, b) => order[a.state] - order[b.state]).map((r) => [h("code", null, r.check), badge(r.state), r.got || "–", r.why || ""])))),
  ];
}

let saved;

/** save is an address of what was measured, in place of the one before. */
function save(done) {
  if (saved) URL.revokeObjectURL(saved);
  saved = URL.createObjectURL(new Blob([JSON.stringify({ candidates: done }, null, 1)], { type: "application/json" }));
  return saved;
}
