// Keeps a page alive: fetches it again and puts in place what changed. Forms and dialogs without leaving the page.
import { morph } from "./morph.js";
import { stream } from "./stream.js";
import { tick } from "./times.js";

const HIDDEN_SECONDS = 30; // a page that nobody looks at
const MAX_WAIT_SECONDS = 10;

let etag = "";
let timer = 0;
let failures = 0;
let asked = 0;

const areas = () => [...document.querySelectorAll("[data-live]")];

function plan() {
  clearTimeout(timer);
  const wanted = Math.min(...areas().map((area) => Number(area.dataset.seconds)));
  if (!Number.isFinite(wanted)) return;
  const backed = failures ? Math.min(MAX_WAIT_SECONDS, wanted * 2 ** failures) : wanted;
  timer = setTimeout(refresh, 1000 * (document.hidden ? Math.max(HIDDEN_SECONDS, backed) : backed));
}

function connection(words) {
  const box = document.getElementById("connection");
  if (box.textContent !== words) box.textContent = words;
  box.hidden = !words;
}

function follow() {
  for (const box of document.querySelectorAll("[data-follow]")) {
    const away = box.scrollHeight - box.scrollTop - box.clientHeight;
    if (!box.dataset.kept || away < 80) box.scrollTop = box.scrollHeight;
    box.dataset.kept = "1";
  }
}

function show(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const area of areas()) {
    const found = fresh.getElementById(area.id);
    if (!found) return location.reload();
    morph(area, found);
    if (area.dataset.title) document.title = area.dataset.title;
  }
  tick();
  follow();
  dispatchEvent(new Event("shown"));
}

/** What an answer means for this page: shown, left for another page, or told. */
async function take(answer) {
  if (answer.redirected && new URL(answer.url).pathname !== location.pathname) return location.assign(answer.url);
  if (answer.status === 304) return;
  if (answer.status >= 500) throw new Error(`status ${answer.status}`);
  if (!answer.ok) return location.reload();
  etag = answer.headers.get("ETag") || "";
  show(await answer.text());
}

export async function refresh() {
  clearTimeout(timer);
  const number = ++asked;
  try {
    const answer = await fetch(location.href, {
      headers: { Accept: "text/html", ...(etag && { "If-None-Match": etag }) },
      cache: "no-store",
      signal: AbortSignal.timeout(20000),
    });
    if (number !== asked) return; // a later one is under way
    await take(answer);
    failures = 0;
    connection("");
  } catch {
    if (number !== asked) return;
    failures += 1;
    if (failures > 1) connection("The server cannot be reached. What you see may be old; trying again.");
  }
  plan();
}

let looking = false;
let lookAgain = false;

/** Look now; what happens while a look is under way is seen by one more. */
async function look() {
  lookAgain = true;
  if (looking) return;
  looking = true;
  while (lookAgain) {
    lookAgain = false;
    await refresh();
  }
  looking = false;
}

/** Send a form and stay: the answer is this page again, or where to go. */
async function send(form, button) {
  const body = new URLSearchParams(new FormData(form, button)); // before the button is disabled: it may have a value
  button.disabled = true;
  asked += 1;
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      headers: { Accept: "text/html" },
      body,
    });
    if (answer.ok) {
      etag = "";
      form.closest("dialog")?.close();
      if (new URL(answer.url).pathname === location.pathname) {
        await refresh();
        form.reset(); // its fields show what holds now, no more what was typed
      } else location.assign(answer.url);
    } else {
      const told = new DOMParser().parseFromString(await answer.text(), "text/html");
      tell(told.querySelector("main"));
    }
  } catch {
    connection("The server did not answer. Look whether it was done, then try again.");
  }
  button.disabled = false;
  plan();
}

function tell(main) {
  const dialog = document.getElementById("dialog");
  dialog.replaceChildren(...main.children);
  for (const link of dialog.querySelectorAll('a[href=""]')) link.dataset.close = "";
  dialog.showModal();
}

async function ask(link) {
  const answer = await fetch(link.href, { headers: { Accept: "text/html" } });
  const body = new DOMParser().parseFromString(await answer.text(), "text/html");
  const form = body.getElementById("ask");
  if (!form) return location.assign(link.href);
  const dialog = document.getElementById("dialog");
  dialog.replaceChildren(form);
  if (!dialog.open) dialog.showModal(); // a form in it may lead to another
  dialog.querySelector("[data-close]").focus();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-dialog]");
  const close = event.target.closest("dialog [data-close]");
  const copy = event.target.closest("[data-copy]");
  if (link && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    ask(link);
  } else if (close) {
    event.preventDefault();
    document.getElementById("dialog").close();
  } else if (copy) {
    copyText(copy);
  }
});

async function copyText(button) {
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(source); // without a clipboard the reader copies by hand
    button.textContent = "Press Ctrl+C";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-inline]")) return;
  event.preventDefault();
  send(event.target, event.submitter);
});

for (const form of document.querySelectorAll("[data-filter]")) {
  form.addEventListener("input", () => {
    const words = new URLSearchParams([...new FormData(form)].filter(([, value]) => value && value !== "all"));
    history.replaceState(null, "", words.size ? `?${words}` : location.pathname);
    etag = "";
    refresh();
  });
}

document.addEventListener("visibilitychange", () => (document.hidden ? plan() : refresh()));
addEventListener("online", refresh);
const streamed = document.querySelector("[data-stream]");
if (streamed) stream(streamed.dataset.stream, look);
follow();
plan();
