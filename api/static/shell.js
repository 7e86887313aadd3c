// A shell in the page: keys go to the environment in small posts, what it writes comes as server-sent events.
import { keyOf } from "./keys.js";
import { Screen } from "./screen.js";
import { View } from "./view.js";

const API = "/api/v1";
const POST_BYTES = 12 * 1024;
const RETRY_MS = 500;

const area = document.getElementById("shell");
const input = document.getElementById("keys");
const notice = document.getElementById("shell-notice");
const again = document.getElementById("again");
const csrf = document.querySelector('meta[name="csrf"]').content;
const encoder = new TextEncoder();

const screen = new Screen(24, 80, (text) => send(text));
const view = new View(area, screen);
let session = null;

function tell(words, ended = false) {
  notice.textContent = words;
  again.hidden = !ended;
  if (ended) again.focus();
}

async function post(url, body, method = "POST") {
  return fetch(url, {
    method,
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
    body: body && JSON.stringify(body),
  });
}

async function begin() {
  tell("Connecting…");
  const { rows, cols } = view.room();
  screen.reset(rows, cols); // nothing is left of the shell before
  view.soon();
  let answer;
  try {
    answer = await post(`${API}/environments/${area.dataset.env}/exec`, { command: ["bash"], tty: true, rows, cols });
  } catch {
    return tell("The server cannot be reached.", true);
  }
  const body = await answer.json();
  if (!answer.ok) return tell(body.detail, true);
  const mine = { at: `${API}/channels/${body.channel}`, seq: 0, waiting: [], sending: false, ended: false };
  session = mine;
  listen(mine);
  tell("");
  input.focus();
}

function listen(mine) {
  const decoder = new TextDecoder();
  mine.events = new EventSource(`${mine.at}/output`);
  mine.events.onmessage = ({ data }) => {
    const said = JSON.parse(data);
    if (said.kind === "out") {
      screen.write(decoder.decode(Uint8Array.from(atob(said.data), (c) => c.charCodeAt(0)), { stream: true }));
      view.soon();
    } else if (said.kind === "exit") {
      end(mine, said.code ? `The shell ended with ${said.code}.` : "The shell ended.");
    } else if (said.kind === "error") {
      end(mine, said.message);
    }
  };
  mine.events.onerror = () => {
    if (mine.ended) return;
    if (mine.events.readyState === EventSource.CLOSED) end(mine, "The connection to the environment has ended.");
    else tell("The connection was lost; trying again…");
  };
  mine.events.onopen = () => tell("");
}

function end(mine, words) {
  if (mine.ended) return;
  mine.ended = true;
  mine.events.close();
  tell(words, true);
}

/** What was typed, in order: one post at a time, each with a number, so that one that is sent again counts once. */
async function pump(mine) {
  if (mine.sending) return;
  mine.sending = true;
  while (mine.waiting.length && !mine.ended) {
    const body = { seq: ++mine.seq, ...next(mine) };
    for (;;) {
      try {
        const answer = await post(`${mine.at}/input`, body);
        if (answer.status === 401) return location.reload();
        if (answer.status === 404 || answer.status === 410) return end(mine, "The connection to the environment has ended.");
        if (answer.ok || (answer.status < 500 && answer.status !== 429)) break;
      } catch {
        tell("The connection was lost; trying again…");
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      if (mine.ended) return;
    }
  }
  mine.sending = false;
}

function next(mine) {
  const first = mine.waiting.shift();
  if (!first.bytes) return first;
  const bytes = [...first.bytes];
  while (mine.waiting[0]?.bytes && bytes.length + mine.waiting[0].bytes.length <= POST_BYTES) {
    bytes.push(...mine.waiting.shift().bytes);
  }
  return { data: btoa(String.fromCharCode(...bytes)) };
}

function send(text) {
  if (!session || session.ended || !text) return;
  const bytes = encoder.encode(text);
  for (let at = 0; at < bytes.length; at += POST_BYTES) session.waiting.push({ bytes: bytes.slice(at, at + POST_BYTES) });
  pump(session);
}

function type(text) {
  send(text);
  area.scrollTop = area.scrollHeight;
}

function hangUp() {
  if (!session || session.ended) return;
  fetch(session.at, { method: "DELETE", headers: { "X-CSRF-Token": csrf }, keepalive: true });
  end(session, "");
}

input.addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  const selected = String(getSelection());
  if (event.key.toLowerCase() === "c" && event.ctrlKey && (selected || event.shiftKey)) return; // the browser copies
  if (event.key.toLowerCase() === "v" && event.ctrlKey) return; // and pastes
  const text = keyOf(event, screen);
  if (text === null) return;
  event.preventDefault();
  type(text);
});
input.addEventListener("input", (event) => {
  if (event.isComposing) return;
  type(input.value);
  input.value = "";
});
input.addEventListener("compositionend", () => {
  type(input.value);
  input.value = "";
});
input.addEventListener("paste", (event) => {
  event.preventDefault();
  const text = event.clipboardData.getData("text").replace(/\r?\n/g, "\r").replaceAll("\x1b", "");
  type(screen.pasteIsMarked ? `\x1b[200~${text}\x1b[201~` : text);
});
input.addEventListener("focus", () => area.classList.add("focused"));
input.addEventListener("blur", () => area.classList.remove("focused"));
area.addEventListener("mouseup", () => String(getSelection()) || input.focus());
area.addEventListener("focus", () => input.focus());
document.addEventListener("copy", (event) => {
  const selected = String(getSelection());
  if (!selected || !area.contains(getSelection().anchorNode)) return;
  event.preventDefault();
  event.clipboardData.setData("text/plain", selected.replaceAll("\u00a0", " "));
});
again.addEventListener("click", begin);
addEventListener("pagehide", hangUp);

new ResizeObserver(() => {
  const { rows, cols } = view.room();
  if (!session || (rows === screen.rows && cols === screen.cols)) return;
  screen.resize(rows, cols);
  view.soon();
  session.waiting.push({ rows, cols });
  pump(session);
}).observe(area);

begin();
