// Times in the reader's own zone and words, kept true while the page is open.

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const UNITS = [
  ["d", 86400],
  ["h", 3600],
  ["min", 60],
  ["s", 1],
];

/** 5400 → "1 h 30 min" */
export function words(seconds) {
  let left = Math.max(0, Math.floor(seconds));
  const parts = [];
  for (const [name, length] of UNITS) {
    const count = Math.floor(left / length);
    left -= count * length;
    if (count) parts.push(`${count} ${name}`);
    if (parts.length && (parts.length === 2 || name === "min")) break;
  }
  return parts.join(" ") || "0 s";
}

const STYLES = {
  ago: (date, seconds) => (seconds < 3 ? "just now" : words(seconds)),
  left: (date, seconds) => (seconds < 0 ? `in ${words(-seconds)}` : "any moment"),
  clock: (date) => clock.format(date),
  both: (date, seconds) => `${full.format(date)}${seconds < 3 ? "" : `, ${words(seconds)} ago`}`,
};

export function tick() {
  for (const element of document.querySelectorAll("time[data-style]")) {
    const date = new Date(element.dateTime);
    const said = STYLES[element.dataset.style](date, (Date.now() - date.getTime()) / 1000);
    if (element.textContent !== said) element.textContent = said;
    if (!element.title) element.title = full.format(date);
  }
}

tick();
setInterval(tick, 1000);
