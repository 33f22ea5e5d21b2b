// The frame around the views: which one is shown, keys, focus.

import { get } from "./api.js";
import { h, say } from "./dom.js";
import * as catalogue from "./catalogue.js";
import * as grid from "./grid.js";
import * as lists from "./lists.js";
import * as result from "./result.js";
import * as run from "./run.js";
import * as target from "./target.js";
import * as validate from "./validate.js";

// A view fills an element and stops what it began when the signal says so.
const views = {
  "": { show: grid.show, nav: "grid" },
  target: { show: target.show, nav: "grid" },
  results: { show: lists.results, nav: "results" },
  result: { show: result.show, nav: "results" },
  runs: { show: lists.runs, nav: "runs" },
  run: { show: run.show, nav: "runs" },
  new: { show: run.ask, nav: "new" },
  validate: { show: validate.show, nav: "validate" },
  verdicts: { show: catalogue.list, nav: "verdicts" },
  verdict: { show: catalogue.show, nav: "verdicts" },
};

const main = document.getElementById("main");
let leave = new AbortController();
let first = true;

/** where reads the address: #/view/arg?query. */
function where() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, ...rest] = path.split("/");
  return { view, arg: rest.map(decoded).join("/"), query: new URLSearchParams(query) };
}

/** decoded reads a part of the address; one that is spelt wrong stands as it is, and is not found. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function go() {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const at = where();
  const view = Object.hasOwn(views, at.view) ? views[at.view] : undefined;
  for (const a of document.querySelectorAll("[data-view]")) {
    if (a.dataset.view === view?.nav) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  const root = h("div", { class: "view" });
  main.replaceChildren(root);
  main.setAttribute("aria-busy", "true");
  try {
    if (!view) throw new Error("There is no such view.");
    await view.show(root, at, signal);
  } catch (err) {
    if (signal.aborted) return;
    root.append(h("h1", null, "That did not work"), h("p", { class: "notice bad", role: "alert" }, err.message), h("p", null, h("a", { href: "#/" }, "All targets")));
  }
  if (signal.aborted) return;
  main.removeAttribute("aria-busy");
  const title = root.querySelector("h1")?.textContent ?? "";
  document.title = title ? `${title} · vipprobe` : "vipprobe";
  if (!first) {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
    say(title);
  }
  first = false;
}

const help = document.getElementById("help");
const keysOn = document.getElementById("keys-on");

function remember() {
  try {
    keysOn.checked = localStorage.getItem("vipprobe.keys") !== "off";
    keysOn.addEventListener("change", () => localStorage.setItem("vipprobe.keys", keysOn.checked ? "on" : "off"));
  } catch {
    // no storage: the keys are on
  }
}

const jumps = { t: "#/", f: "#/results", u: "#/runs", v: "#/validate", c: "#/verdicts", n: "#/new" };

function key(e) {
  if (e.ctrlKey || e.altKey || e.metaKey || !keysOn.checked || help.open) return;
  if (e.target.closest?.("input, select, textarea, [contenteditable]")) return;
  if (e.key === "?") help.showModal();
  else if (jumps[e.key]) location.hash = jumps[e.key];
  else if (e.key === "/" && document.getElementById("filter")) document.getElementById("filter").focus();
  else if (e.key === "r" && document.getElementById("again")) document.getElementById("again").click();
  else return;
  e.preventDefault();
}

document.addEventListener("keydown", key);
document.getElementById("help-open").addEventListener("click", () => help.showModal());
document.getElementById("skip").addEventListener("click", (e) => {
  e.preventDefault();
  main.focus();
});
addEventListener("hashchange", go);
remember();
go();
get("service").then((s) => {
  document.getElementById("version").textContent = `vipprobe ${s.version}`;
}, () => {});
