// The way to the interface: calls with the token, and the events, which come back after a break.

const KEY = "llama-orch-token";
const SILENCE = 40_000; // the server says something at least every 15 s
const PAUSES = [1000, 2000, 4000, 8000];

/** What went wrong, in the words of the interface. */
export class Refused extends Error {
  constructor(message, type, status) {
    super(message);
    this.type = type;
    this.status = status;
  }
}

/** The token of this tab. It came behind the #, which no browser sends, and is taken out of the
 *  address at once; it is not kept longer than the tab, because the next program on this port
 *  could read what is. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    keepToken(given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(KEY);
}

export function keepToken(token) {
  sessionStorage.setItem(KEY, token);
}

export function hasToken() {
  return sessionStorage.getItem(KEY) !== null;
}

export function forgetToken() {
  sessionStorage.removeItem(KEY);
}

async function ask(path, options = {}) {
  const token = sessionStorage.getItem(KEY);
  // A header can hold no more than this; what it cannot is no token anyway.
  const headers = token && /^[\x21-\x7e]+$/.test(token) ? { "X-Llama-Orch-Token": token } : {};
  const answer = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  throw new Refused(body.error?.message ?? `HTTP ${answer.status}`, body.error?.type ?? "http", answer.status);
}

/** Set an action going; the events tell how it ends. */
export function act(name, action) {
  return ask(`instances/${encodeURIComponent(name)}/${action}`, { method: "POST" });
}

/** A part of a log: the end of it, or what was written since `cursor`. */
export async function readLog(name, stream, tail, cursor) {
  const query = new URLSearchParams({ stream, tail });
  if (cursor) query.set("after", cursor);
  return (await ask(`instances/${encodeURIComponent(name)}/logs?${query}`)).json();
}

/** Watch the events for ever. `told(event, data)` for each; `state` is told live, lost or refused
 *  with the error, and whether to go on after a refusal is up to its promise. */
export async function watch(told, state) {
  for (let failures = 0; ; ) {
    try {
      await listen(told, () => {
        failures = 0;
        state("live");
      });
      await state("lost");
    } catch (error) {
      await state(error instanceof Refused && error.status === 401 ? "refused" : "lost", error);
    }
    await new Promise((go) => setTimeout(go, PAUSES[Math.min(failures++, PAUSES.length - 1)]));
  }
}

// EventSource can send no token, so the few rules of the format are followed here.
async function listen(told, opened) {
  const giveUp = new AbortController();
  let silence = setTimeout(() => giveUp.abort(), SILENCE);
  try {
    const answer = await ask("events", { signal: giveUp.signal });
    opened();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(silence);
      silence = setTimeout(() => giveUp.abort(), SILENCE);
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) tell(block, told);
    }
  } finally {
    clearTimeout(silence);
    giveUp.abort();
  }
}

function tell(block, told) {
  const fields = Object.fromEntries(block.split("\n").map((line) => {
    const colon = line.indexOf(": ");
    return [line.slice(0, colon), line.slice(colon + 2)];
  }));
  if (fields.event) told(fields.event, JSON.parse(fields.data));
}
