// How things are said: pure functions from what is known to what is shown.

const ANSI = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])/g;
// Control characters, and the marks that turn the direction of text around or hide in it.
const UNSEEN = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** Text of others without colours, and with every character that would hide or reorder it spelt out. */
export function visible(text) {
  return String(text).replace(ANSI, "").replace(UNSEEN, (one) => {
    return `⟨U+${one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

/** Bytes as people say them. */
export function memory(bytes) {
  if (bytes === null) return "";
  const gib = bytes / 2 ** 30;
  return gib >= 1 ? `${gib.toFixed(1)} GiB` : `${Math.round(bytes / 2 ** 20)} MiB`;
}

/** Seconds in the two largest units that say something. */
export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes] = [whole / 86400, (whole / 3600) % 24, (whole / 60) % 60].map(Math.floor);
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} m`;
  if (minutes) return `${minutes} m ${whole % 60} s`;
  return `${whole} s`;
}

export function uptime(view, now) {
  return view.pid === null || view.started_at === null ? "" : span(now - view.started_at);
}

export function speed(view) {
  return view.tokens_per_second === null ? "" : view.tokens_per_second.toFixed(1);
}

/** Where it computes: the device only where it says more than the backend. */
export function device(view) {
  return view.device && view.device.toLowerCase() !== view.backend ? view.device : "";
}

export function isReady(view) {
  return view.pid !== null && (view.health === "healthy" || view.health === "busy");
}

/** Whether there is something to stop. */
export function isUp(view) {
  return view.wanted === "up" && view.health !== "error";
}

const TONES = {
  healthy: "good", busy: "good", loading: "wait", unknown: "none",
  unhealthy: "bad", unreachable: "warn", error: "bad",
};

/** What is said of an instance's health: a word, its tone (a colour), and why. */
export function healthOf(view, now) {
  if (view.health === "error") return { word: "error", tone: "bad", why: view.detail };
  if (view.wanted === "down") {
    return { word: view.pid === null ? "down" : "stopping", tone: "none", why: view.pid === null ? "" : view.detail };
  }
  if (view.pid === null && view.retry_at !== null) {
    const wait = Math.max(0, Math.ceil(view.retry_at - now));
    return { word: "waiting", tone: "warn", why: `starts again in ${span(wait)}${view.detail ? `: ${view.detail}` : ""}` };
  }
  return { word: view.health, tone: TONES[view.health] ?? "none", why: view.health === "healthy" ? "" : view.detail };
}

const DOING = { start: "starting…", stop: "stopping…", restart: "restarting…", reset: "resetting…" };

/** The word for actions under way, the last one first; "" for none. */
export function doing(actions) {
  return actions.length ? DOING[actions[actions.length - 1]] : "";
}

/** How many there are, and how many of them answer. */
export function summary(views) {
  if (!views.length) return "";
  return `${views.filter(isReady).length} of ${views.length} ready`;
}
