// What is known, and what is shown of it.

import { act, forgetToken, hasToken, keepToken, takeToken, watch } from "./link.js";
import { Log } from "./log.js";
import { element, Rows } from "./rows.js";
import { atDoor, stateOf, summary, visible } from "./words.js";

const at = (id) => document.getElementById(id);

const known = { views: new Map(), pending: [], door: null, daemon: true, skew: 0, live: false, begun: false };
const log = new Log();
const rows = new Rows(at("rows"), perform);

const now = () => Date.now() / 1000 + known.skew;

function show() {
  const views = [...known.views.values()].sort((one, other) => (one.name < other.name ? -1 : 1));
  rows.show(views, known.door, known.pending, now(), known.live && hasToken());
  at("table").hidden = !views.length;
  at("empty").hidden = !known.begun || views.length > 0;
  at("summary").textContent = summary(views);
  at("door").textContent = atDoor(known.door);
  document.title = views.length ? `${summary(views)} · llama-orch` : "llama-orch";
  at("daemon").hidden = !known.begun || known.daemon;
  at("daemon").textContent = "daemon not running";
  at("daemon").title = "Nobody watches the instances. It starts with the next action, or: llama-orch daemon start";
  document.body.classList.toggle("stale", !known.live);
}

// What the interface tells -------------------------------------------------------------------------

const told = {
  overview(all) {
    known.views = new Map(all.instances.map((view) => [view.name, view]));
    known.skew = all.now ? all.now - Date.now() / 1000 : 0;
    Object.assign(known, { pending: all.pending, door: all.door, daemon: all.daemon, begun: true });
    told.trouble({ message: all.trouble });
  },
  instance(view) {
    const before = known.views.get(view.name);
    known.views.set(view.name, view);
    const word = stateOf(view, now()).word;
    if (before && stateOf(before, now()).word !== word) at("said").textContent = `${visible(view.name)}: ${word}`;
  },
  gone({ name }) {
    known.views.delete(name);
    if (log.name === name) log.close();
  },
  pending(jobs) {
    known.pending = jobs;
  },
  door(figures) {
    known.door = figures;
  },
  daemon({ up }) {
    known.daemon = up;
  },
  trouble({ message }) {
    notice("trouble", message, "warn");
  },
  outcome({ name, action, error }) {
    ended(name, action);
    notice(`action ${name}`, error && `${action} of ${name}: ${error.message}`, "bad");
  },
};

// What the user does -------------------------------------------------------------------------------

async function perform(name, action, button) {
  if (action === "log") return log.open(name, "err", button);
  notice(`action ${name}`, null);
  known.pending = [...known.pending, { name, action }]; // shown at once; the events correct it
  show();
  try {
    await act(name, action);
  } catch (error) {
    ended(name, action);
    notice(`action ${name}`, `${action} of ${name}: ${error.message}`, "bad");
    if (error.status === 401) askForToken("The token was refused: llama-orch serve has another one now.");
    show();
  }
}

function ended(name, action) {
  known.pending = known.pending.filter((job) => job.name !== name || job.action !== action);
}

/** One message for each matter; none takes it away. */
function notice(about, text, tone) {
  const matter = [...at("notices").children].find((one) => one.dataset.about === about);
  matter?.remove();
  if (!text) return;
  const dismiss = element("button", { type: "button", "aria-label": "Dismiss the message" }, "Dismiss");
  const made = element("div", { class: "notice", "data-about": about, "data-tone": tone }, element("p", {}, visibleLines(text)), dismiss);
  dismiss.addEventListener("click", () => made.remove());
  at("notices").append(made);
}

function visibleLines(text) {
  return text.split("\n").map(visible).join("\n");
}

let tokenGiven = () => {};

/** Show the form; the promise is kept when a token was entered. */
function askForToken(why) {
  forgetToken();
  at("key-why").textContent = why;
  at("key").hidden = false;
  return new Promise((given) => (tokenGiven = given));
}

at("key").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = at("key-token").value.trim();
  if (!token) return;
  keepToken(token);
  at("key-token").value = "";
  at("key").hidden = true;
  tokenGiven();
  show();
});

// The beginning ------------------------------------------------------------------------------------

function connection(state, error) {
  known.live = state === "live";
  const words = { live: "live", lost: "connection lost, trying again…", refused: "waiting for the token" };
  at("connection").textContent = words[state];
  at("connection").dataset.state = state;
  show();
  if (state === "refused") return askForToken(hasToken() ? "The token was refused. Enter the one that llama-orch serve was given." : "This interface asks for its token.");
  if (error) console.info(`events: ${error.message}`);
}

if (!takeToken()) {
  askForToken("You can look, but not act: open the whole address that llama-orch serve has printed, or enter the token behind “#token=”.");
}
setInterval(show, 1000); // times go on
watch((event, data) => {
  told[event]?.(data);
  show();
}, connection);
