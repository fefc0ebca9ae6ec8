// How things are said: pure functions from what is known to what is shown.

const COLOURS = /\x1b\[[0-?]*[ -/]*[@-~]/g;
// The same characters as in visible.py: what controls, turns the direction of text round, or hides.
const HIDDEN =
  "\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180e\\u200b\\u200e" +
  "\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ud800-\\udfff\\ufeff\\uffa0\\ufff0-\\ufffb" +
  "\\u{13430}-\\u{1343f}\\u{1bca0}-\\u{1bca3}\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e0fff}";
const SELECTORS = "\\ufe00-\\ufe0f\\u180b-\\u180d\\u180f";
const JOINED = `[^\\x00-\\x7f\\u200c\\u200d${HIDDEN}]`;
const UNSEEN = new RegExp(
  `[${HIDDEN}]|(?<!${JOINED})[\\u200c\\u200d]|[\\u200c\\u200d](?!${JOINED})|(?<=[${SELECTORS}])[${SELECTORS}]`,
  "gu",
);

/** Text of others without colours, and with every character that would act, hide or reorder it spelt out. */
export function visible(text) {
  return String(text).replace(COLOURS, "").replace(UNSEEN, (one) => {
    return `⟨U+${one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

/** Bytes as MiB or GiB. */
export function memory(bytes) {
  if (bytes === null) return "";
  const mebibytes = bytes / 2 ** 20;
  return mebibytes < 1023.5 ? `${mebibytes.toFixed(0)} MiB` : `${(mebibytes / 1024).toFixed(1)} GiB`;
}

/** A length of time by its two largest units. */
export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes] = [86400, 3600, 60].map((unit) => Math.floor(whole / unit));
  if (days) return `${days} d ${hours % 24} h`;
  if (hours) return `${hours} h ${minutes % 60} m`;
  if (minutes) return `${minutes} m ${whole % 60} s`;
  return `${whole} s`;
}

export function uptime(view, now) {
  return view.pid === null || view.started_at === null ? "" : span(now - view.started_at);
}

export function speed(view) {
  const rate = view.tokens_per_second;
  if (rate === null) return "";
  return rate < 99.95 ? rate.toFixed(1) : Math.round(rate).toLocaleString("en");
}

/** Its model without folder and ending. */
export function model(view) {
  return visible(view.model.split(/[\\/]/).pop().replace(/\.gguf$/i, ""));
}

/** Where it computes: the device only where it says more than the backend. */
export function device(view) {
  return view.device && view.device.toLowerCase() !== view.backend ? visible(view.device) : "";
}

export function isReady(view) {
  return view.pid !== null && (view.health === "healthy" || view.health === "busy");
}

/** Whether there is something to stop. */
export function isUp(view) {
  return view.wanted === "up" && view.health !== "error";
}

const TONES = {
  healthy: "good", busy: "busy", loading: "wait", unknown: "none",
  unhealthy: "bad", unreachable: "warn", error: "bad",
};

/** What is said of an instance's state: a word, its tone (a colour), and why it is so. */
export function stateOf(view, now) {
  const why = visible(view.detail);
  if (view.pid === null && view.health !== "error") {
    if (view.retry_at !== null) return { word: `back in ${span(view.retry_at - now)}`, tone: "wait", why };
    if (view.wanted === "down") return { word: "down", tone: "none", why: "" };
  }
  return { word: view.health, tone: TONES[view.health] ?? "none", why: isReady(view) ? "" : why };
}

const DOING = { start: "starting…", stop: "stopping…", restart: "restarting…", reset: "resetting…" };

/** The word for actions under way, the last one first; "" for none. */
export function doing(actions) {
  return actions.length ? DOING[actions[actions.length - 1]] : "";
}

/** What goes on at the front door: how many requests are with an instance, and how many wait. */
function requests(inFlight, waiting) {
  const parts = [inFlight && `${inFlight} in flight`, waiting && `${waiting} waiting`].filter(Boolean);
  return parts.map((part) => part.replaceAll(" ", "\u00a0")).join(", "); // lines break at the comma
}

/** The requests for one instance; "" where there are none, or no front door. */
export function traffic(lane) {
  return lane ? requests(lane.in_flight, lane.queued) : "";
}

/** The front door as a whole; "" where there is none. */
export function atDoor(door) {
  if (!door) return "";
  const sum = (count) => door.instances.reduce((total, lane) => total + lane[count], 0);
  return `front door: ${requests(sum("in_flight"), sum("queued")) || "no requests"}`;
}

/** How many there are, and how many of them answer. */
export function summary(views) {
  if (!views.length) return "";
  return `${views.filter(isReady).length} of ${views.length} ready`;
}
