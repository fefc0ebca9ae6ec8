// The table: a row for each instance, which is changed in place, so that focus and selection stay.

import { device, doing, isUp, memory, model, speed, stateOf, traffic, uptime, visible } from "./words.js";

const LABELS = ["Instance", "Health", "Backend", "Port", "PID", "Uptime", "Restarts", "Tokens/s", "Memory"];

const SHOWN_WHOLE = 50; // characters that three lines have room for in the narrowest column

export function element(tag, attributes = {}, ...inner) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...inner);
  return made;
}

function say(where, text) {
  if (where.textContent !== text) where.textContent = text;
}

function mark(where, name, value) {
  if (where.getAttribute(name) !== value) where.setAttribute(name, value);
}

class Row {
  constructor(name, act) {
    this.name = element("span", { class: "name" }, visible(name));
    this.model = element("span", { class: "more" });
    this.word = element("span", { class: "health" });
    this.requests = element("span", { class: "more requests" });
    this.why = element("span", { class: "more why", tabindex: "-1" });
    this.backend = element("span", { class: "backend" });
    this.device = element("span", { class: "more" });
    this.numbers = LABELS.slice(3).map(() => element("span"));
    this.buttons = Object.fromEntries(["start", "stop", "restart", "reset", "log"].map((action) => {
      const button = element("button", { type: "button", "data-action": action }, action[0].toUpperCase() + action.slice(1));
      button.setAttribute("aria-label", `${button.textContent} ${visible(name)}`);
      button.addEventListener("click", () => act(name, action, button));
      return [action, button];
    }));
    this.buttons.start.classList.add("primary");
    const cells = [
      [this.name, this.model], [this.word, this.requests, this.why], [this.backend, this.device],
      ...this.numbers.map((number) => [number]),
    ].map((inner, at) => {
      const kind = at ? "cell" : "rowheader";
      const cell = element(at ? "td" : "th", { role: kind, "data-label": LABELS[at] }, ...inner);
      if (at > 2) cell.classList.add("number");
      return cell;
    });
    cells[0].setAttribute("scope", "row");
    const actions = element("td", { role: "cell", class: "actions" }, ...Object.values(this.buttons));
    this.element = element("tr", { role: "row", "data-name": name }, ...cells, actions);
  }

  show(view, lane, pending, now, mayAct) {
    const state = stateOf(view, now);
    const busy = doing(pending);
    say(this.model, model(view));
    mark(this.model, "title", visible(view.model));
    say(this.word, busy || state.word);
    mark(this.word, "data-tone", busy ? "wait" : state.tone);
    say(this.requests, traffic(lane));
    say(this.why, state.why);
    mark(this.why, "title", state.why);
    // What is cut short is shown whole while it has the focus: by a tap, a click or the Tab key.
    mark(this.why, "tabindex", state.why.length > SHOWN_WHOLE ? "0" : "-1");
    say(this.backend, view.backend ?? "");
    say(this.device, device(view));
    const numbers = [view.port ?? "", view.pid ?? "", uptime(view, now), view.restarts, speed(view), memory(view.memory)];
    numbers.forEach((number, at) => {
      say(this.numbers[at], String(number));
      this.numbers[at].parentElement.classList.toggle("nothing", number === "");
    });
    mark(this.element, "aria-busy", String(Boolean(busy)));
    this.offer(view, pending, mayAct);
  }

  /** What can be done now. A start under way can be stopped, everything else is waited for. */
  offer(view, pending, mayAct) {
    const { start, stop, restart, reset } = this.buttons;
    const starts = pending.includes("start") || pending.includes("restart");
    const up = isUp(view) || starts;
    start.hidden = up;
    stop.hidden = !up;
    reset.hidden = view.health !== "error" || starts;
    restart.hidden = !reset.hidden;
    start.disabled = !mayAct || pending.length > 0;
    stop.disabled = !mayAct || pending.includes("stop");
    restart.disabled = !mayAct || !up || pending.length > 0;
    reset.disabled = !mayAct || pending.length > 0;
  }
}

/** All rows, in the order of the names. */
export class Rows {
  constructor(body, act) {
    this.body = body;
    this.act = act;
    this.rows = new Map();
  }

  show(views, door, pending, now, mayAct) {
    const lanes = new Map((door?.instances ?? []).map((lane) => [lane.name, lane]));
    const names = new Set(views.map((view) => view.name));
    for (const [name, row] of this.rows) {
      if (!names.has(name)) {
        row.element.remove();
        this.rows.delete(name);
      }
    }
    views.forEach((view, at) => {
      if (!this.rows.has(view.name)) this.rows.set(view.name, new Row(view.name, this.act));
      const row = this.rows.get(view.name);
      if (this.body.children[at] !== row.element) this.body.insertBefore(row.element, this.body.children[at] ?? null);
      const its = pending.filter((job) => job.name === view.name).map((job) => job.action);
      const focused = row.element.contains(document.activeElement) ? document.activeElement : null;
      row.show(view, lanes.get(view.name), its, now, mayAct);
      keepFocus(row, focused);
    });
  }
}

/** A button that has gone or cannot be pressed gives the focus to one beside it, not to the page. */
function keepFocus(row, focused) {
  if (focused && (focused.hidden || focused.disabled)) {
    Object.values(row.buttons).find((button) => !button.hidden && !button.disabled)?.focus();
  }
}
