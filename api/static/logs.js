// The two logs of an environment as tabs. What the container writes is followed while it runs and somebody looks.

const MOST_CHARACTERS = 200_000;
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

async function follow() {
  const mine = (following = new AbortController());
  box.textContent = "";
  notice.textContent = "";
  try {
    const answer = await fetch(`${panel.dataset.log}&follow=1`, { signal: mine.signal });
    if (!answer.ok) throw new Error((await answer.json()).detail);
    for (const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader(); ; ) {
      const { value, done } = await reader.read();
      if (done) break;
      write(value);
    }
    notice.textContent = box.textContent ? "Nothing more comes." : "It has written nothing.";
  } catch (error) {
    if (following !== mine) return; // nobody looks any more, or another began
    notice.textContent = error instanceof TypeError ? "The connection was lost." : error.message;
  }
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
