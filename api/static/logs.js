// The two logs of an environment as tabs. What the container writes is followed while it runs and somebody looks.

const MOST_CHARACTERS = 200_000;
const MOST_LINES = 100_000; // that are asked for after a break
const STAMPED = /^(\d{4}-\d\d-\d\dT[\d:.]+Z) (.*)$/s;
const REFUSED = [400, 401, 403, 404];
const FIRST_MS = 500;
const MOST_MS = 10_000;
const CODES = /\x1b\[[0-9;?]*[A-Za-z]/g; // colours and the like, which are for terminals

const tabs = [...document.querySelectorAll("[role=tab]")];
const panel = document.getElementById("panel-container");
const box = document.getElementById("container-log");
const notice = document.getElementById("container-notice");
let following = null; // what ends it

const panelOf = (tab) => document.getElementById(tab.getAttribute("aria-controls"));
const runs = () => document.getElementById("environment").dataset.state === "running";

function choose(tab) {
  for (const each of tabs) {
    each.ariaSelected = String(each === tab);
    each.tabIndex = each === tab ? 0 : -1;
    panelOf(each).hidden = each !== tab;
  }
  look();
}

function write(text) {
  const away = box.scrollHeight - box.scrollTop - box.clientHeight;
  box.append(text.replace(CODES, ""));
  if (box.childNodes.length > 500) box.textContent = box.textContent.slice(-MOST_CHARACTERS);
  if (away < 80) box.scrollTop = box.scrollHeight;
}

/** Lines as they come, each behind the moment at which it was written; the last of these, however it ended. */
async function take(answer, since) {
  let rest = "";
  let last = since;
  try {
    for (const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader(); ; ) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      const texts = lines.map((line) => line.match(STAMPED) || [line, "", line]);
      last = texts.findLast(([, stamp]) => stamp)?.[1] || last;
      if (lines.length) write(texts.map(([, , text]) => `${text}\n`).join(""));
    }
  } catch {
    // lost, or nobody looks any more
  }
  return last;
}

/** Until the container ends or nobody looks: what is lost is asked for again, from the last line on that came. */
async function follow() {
  const mine = (following = new AbortController());
  const alone = () => !mine.signal.aborted && (following === mine || !following);
  box.textContent = "";
  notice.textContent = "";
  for (let since = "", tries = 0; ; tries += 1) {
    try {
      const more = since && `&since=${since}&tail=${MOST_LINES}`;
      const answer = await fetch(`${panel.dataset.log}&follow=1&timestamps=1${more}`, { signal: mine.signal });
      if (REFUSED.includes(answer.status)) {
        notice.textContent = (await answer.json()).detail;
        return;
      }
      if (answer.ok) {
        notice.textContent = "";
        const last = await take(answer, since);
        if (last !== since) tries = 0;
        since = last;
      }
    } catch {
      // nobody answers; what is said below holds for it too
    }
    if (!alone()) return; // nobody looks any more, or another began
    if (!runs()) break;
    if (tries) notice.textContent = "The connection was lost; trying again…";
    await new Promise((resolve) => setTimeout(resolve, Math.min(MOST_MS, FIRST_MS * 2 ** tries)));
    if (!alone()) return;
  }
  notice.textContent = box.textContent ? "Nothing more comes." : "It has written nothing.";
}

/** Begin or end, as the tab, the page and the environment stand. */
function look() {
  const wanted = !panel.hidden && !document.hidden && runs();
  if (wanted && !following) follow();
  if (!wanted && following) {
    if (runs()) following.abort(); // else its last words are on their way
    following = null;
  }
  if (!panel.hidden && !runs() && !box.textContent) notice.textContent = "It does not run. What it writes appears here when it does.";
}

for (const tab of tabs) {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const other = tabs[(tabs.indexOf(tab) + 1) % tabs.length]; // of two, either way
    choose(other);
    other.focus();
  });
}
document.addEventListener("visibilitychange", look);
addEventListener("shown", look);
