// The log of one instance: its last lines, and what is added, as text and nothing else.

import { readLog } from "./link.js";
import { element } from "./rows.js";
import { visible } from "./words.js";

const FIRST = 500;
const MOST = 5000;
const PAUSE = 1000;

export class Log {
  constructor() {
    this.panel = document.getElementById("log");
    this.title = document.getElementById("log-title");
    this.text = document.getElementById("log-text");
    this.followButton = document.getElementById("log-follow");
    this.streams = [...this.panel.querySelectorAll("[data-stream]")];
    this.reading = 0;
    this.name = null;
    this.stream = "err";
    this.streams.forEach((one) => one.addEventListener("click", () => this.open(this.name, one.dataset.stream, this.opener)));
    this.followButton.addEventListener("click", () => this.follow(!this.follows));
    this.text.addEventListener("scroll", () => this.follow(this.atEnd(), false));
    document.getElementById("log-close").addEventListener("click", () => this.close());
    document.addEventListener("keydown", (key) => {
      if (key.key === "Escape" && !this.panel.hidden) this.close();
    });
  }

  open(name, stream, opener) {
    const other = name !== this.name;
    this.name = name;
    this.stream = stream;
    this.opener = opener;
    this.title.textContent = visible(name);
    this.streams.forEach((one) => one.setAttribute("aria-pressed", String(one.dataset.stream === stream)));
    this.text.replaceChildren();
    this.panel.hidden = false;
    document.body.classList.add("with-log");
    if (other) this.text.focus({ preventScroll: true });
    this.follow(true);
    this.keepReading(++this.reading);
  }

  close() {
    this.reading++;
    this.name = null;
    this.panel.hidden = true;
    document.body.classList.remove("with-log");
    this.opener?.focus();
  }

  async keepReading(reading) {
    for (let cursor = ""; this.reading === reading; ) {
      try {
        const part = await readLog(this.name, this.stream, FIRST, cursor);
        if (this.reading !== reading) return;
        this.add(part, cursor);
        cursor = part.cursor;
      } catch (error) {
        if (this.reading !== reading) return;
        this.rest(visible(error.message), "problem");
      }
      await new Promise((go) => setTimeout(go, PAUSE));
    }
  }

  add(part, cursor) {
    this.text.querySelector(".rest")?.remove();
    const lines = part.lines.map((line) => element("div", {}, visible(line)));
    if (part.fresh && cursor && lines.length) lines.unshift(element("div", { class: "note" }, "A new file begins here."));
    this.text.append(...lines);
    while (this.text.childElementCount > MOST) this.text.firstElementChild.remove();
    if (part.rest) this.rest(visible(part.rest), "");
    else if (!this.text.childElementCount) this.rest("Nothing has been written yet.", "note");
    if (this.follows) this.text.scrollTop = this.text.scrollHeight;
  }

  rest(text, kind) {
    this.text.querySelector(".rest")?.remove();
    this.text.append(element("div", { class: `rest ${kind}` }, text));
  }

  atEnd() {
    return this.text.scrollHeight - this.text.scrollTop - this.text.clientHeight < 24;
  }

  follow(wanted, move = true) {
    this.follows = wanted;
    this.followButton.setAttribute("aria-pressed", String(wanted));
    if (wanted && move) this.text.scrollTop = this.text.scrollHeight;
  }
}
