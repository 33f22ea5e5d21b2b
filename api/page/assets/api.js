// What asks the service. Addresses are relative, so that the page works below any prefix.

const base = "api/v1/";

/** ApiError is an answer that says no; message is for people. */
export class ApiError extends Error {
  constructor(status, problem) {
    const places = (problem.errors ?? []).map((e) => [e.location, e.message].filter(Boolean).join(": "));
    super([problem.detail || problem.title || `the service answered ${status}`, ...places].join("; "));
    this.status = status;
  }
}

function address(path, params) {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(params ?? {})) if (v !== undefined && v !== null && v !== "") q.set(k, v);
  const text = q.toString();
  return base + path + (text ? "?" + text : "");
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (err) {
    if (err.name === "AbortError") throw err;
    throw new Error("The service cannot be reached.");
  }
  if (!answer.ok) throw new ApiError(answer.status, await answer.json().catch(() => ({})));
  return answer.json();
}

/** get asks for JSON. */
export const get = (path, params, signal) => ask(address(path, params), { signal });

/** post sends JSON. */
export const post = (path, body, signal) =>
  ask(address(path), { method: "POST", signal, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) });

/** all follows the pages of a list until its end, or until it has at least `most`. */
export async function all(path, params, field, most, signal) {
  const out = [];
  for (let cursor = ""; ; ) {
    const page = await get(path, { ...params, cursor }, signal);
    out.push(...page[field]);
    cursor = page.next;
    if (!cursor || out.length >= most) return out;
  }
}

/** captureHref is where a result's frames are. */
export const captureHref = (id) => `${base}results/${encodeURIComponent(id)}/capture`;

/** roundHref is where all that was seen of a result is, as JSON. */
export const roundHref = (id) => `${base}results/${encodeURIComponent(id)}/round`;

/** startRun begins a run; the answer is the run. */
export const startRun = (request, signal) => post("runs", request, signal);

/** validate holds one host against checks; whoever leaves ends the measurement. */
export const validate = (request, signal) => post("validations", request, signal);

/** cancelRun ends a run. */
export const cancelRun = (id) => post(`runs/${id}/cancel`);

/**
 * follow tells a run's progress: on.progress for each burst, on.waiting, on.end once, on.broken when the stream breaks and is tried again.
 * EventSource comes back by itself with Last-Event-ID; where it may not, the run's state is asked for.
 */
export function follow(id, on, signal) {
  const source = new EventSource(`${base}runs/${id}/events`);
  const stop = () => source.close();
  signal.addEventListener("abort", stop);
  const read = (f) => (e) => f?.(JSON.parse(e.data));
  source.addEventListener("progress", read(on.progress));
  source.addEventListener("waiting", read(on.waiting));
  source.addEventListener("end", (e) => {
    stop();
    on.end(JSON.parse(e.data));
  });
  source.addEventListener("error", async () => {
    on.broken?.();
    if (source.readyState !== EventSource.CLOSED) return;
    for (;;) {
      await new Promise((go) => setTimeout(go, 2000));
      if (signal.aborted) return;
      const run = await get(`runs/${id}`, null, signal).catch(() => null);
      if (run && run.state !== "running") return on.end(run);
    }
  });
}
