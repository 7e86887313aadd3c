// What a key of the keyboard says to a program in a terminal; null where it is the browser's own.

const ARROWS = { ArrowUp: "A", ArrowDown: "B", ArrowRight: "C", ArrowLeft: "D", Home: "H", End: "F" };
const NUMBERED = { Insert: 2, Delete: 3, PageUp: 5, PageDown: 6, F5: 15, F6: 17, F7: 18, F8: 19, F9: 20, F10: 21 };
const PLAIN = { Enter: "\r", Backspace: "\x7f", Escape: "\x1b", F1: "\x1bOP", F2: "\x1bOQ", F3: "\x1bOR", F4: "\x1bOS" };

export function keyOf(event, screen) {
  const { key, ctrlKey, altKey, metaKey, shiftKey } = event;
  if (metaKey) return null;
  if (key === "Tab") return shiftKey ? null : "\t"; // Shift+Tab leaves the terminal, so that nobody is caught in it
  const modifier = 1 + (shiftKey ? 1 : 0) + (altKey ? 2 : 0) + (ctrlKey ? 4 : 0);
  if (ARROWS[key]) {
    if (modifier > 1) return `\x1b[1;${modifier}${ARROWS[key]}`;
    return `\x1b${screen.keysOfApplication ? "O" : "["}${ARROWS[key]}`;
  }
  if (NUMBERED[key]) return `\x1b[${NUMBERED[key]}${modifier > 1 ? `;${modifier}` : ""}~`;
  if (PLAIN[key]) return (altKey ? "\x1b" : "") + PLAIN[key];
  if (ctrlKey && !altKey && key.length === 1) return control(key);
  if (altKey && !ctrlKey && key.length === 1) return `\x1b${key}`;
  return null; // letters come as text, with what the keyboard's layout makes of them
}

function control(key) {
  const code = key.toUpperCase().charCodeAt(0);
  if (code >= 64 && code <= 95) return String.fromCharCode(code - 64);
  return { " ": "\0", "/": "\x1f", "?": "\x7f" }[key] ?? null;
}
