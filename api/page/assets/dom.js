// What makes elements. Text only ever becomes text: names of targets come from outside.

const svgNS = "http://www.w3.org/2000/svg";

function fill(el, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "selected" || name === "disabled") el[name] = value;
    else el.setAttribute(name, value === true ? "" : String(value));
  }
  for (const c of children.flat(Infinity)) {
    if (c === undefined || c === null || c === false || c === "") continue;
    el.append(c instanceof Node ? c : String(c));
  }
  return el;
}

/** h makes an HTML element with attributes, listeners (onclick …) and children. */
export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);

/** s makes an SVG element. */
export const s = (tag, props, ...children) => fill(document.createElementNS(svgNS, tag), props, children);

/** put replaces what an element holds; what is not there is left out. */
export function put(el, ...children) {
  el.replaceChildren();
  return fill(el, null, children);
}

/** link is an <a> within the page. */
export const link = (view, params, ...children) => h("a", { href: href(view, params) }, ...children);

/** href is the address of a view: #/view/arg?query. */
export function href(path, params) {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(params ?? {})) if (v !== undefined && v !== "") q.set(k, v);
  const text = q.toString();
  return "#/" + path + (text ? "?" + text : "");
}

/** table makes a table whose cells may be nodes; columns are {name, num}. */
export function table(caption, columns, rows) {
  const cls = (c) => (c.num ? "num" : undefined);
  return h("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    h("table", null, h("caption", { class: "unseen" }, caption),
      h("thead", null, h("tr", null, columns.map((c) => h("th", { scope: "col", class: cls(c) }, c.name)))),
      h("tbody", null, rows.map((r) => h("tr", null, r.map((cell, i) => h("td", { class: cls(columns[i]) }, cell)))))));
}

/** color reads a custom property of the style in force, for canvases. */
export const color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

/** say tells what happened to those who do not see it. */
export function say(text) {
  document.getElementById("status").textContent = text;
}

/** every runs work now and again each period (ms, or what a function says) while the page is seen, until the signal. */
export function every(period, signal, work) {
  let timer;
  const again = () => {
    clearTimeout(timer);
    if (!signal.aborted) timer = setTimeout(go, typeof period === "function" ? period() : period);
  };
  const go = async () => {
    if (!document.hidden) await work().catch(() => {});
    again();
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  again();
}
