// Reads what a program writes to a terminal and tells a `Screen` what to do. A sequence may come in pieces.

const COLOURS = 16;
const MODES = {
  1: (screen, on) => (screen.keysOfApplication = on),
  7: (screen, on) => (screen.autowrap = on),
  25: (screen, on) => (screen.cursorShown = on),
  47: (screen, on) => screen.alternate(on),
  1047: (screen, on) => screen.alternate(on),
  1049: (screen, on) => {
    if (on) screen.save();
    screen.alternate(on);
    if (on) screen.erase(2);
    else screen.restore();
  },
  2004: (screen, on) => (screen.pasteIsMarked = on),
};
const FACES = {
  1: { bold: true }, 2: { dim: true }, 3: { italic: true }, 4: { underline: true }, 7: { inverse: true },
  22: { bold: false, dim: false }, 23: { italic: false }, 24: { underline: false }, 27: { inverse: false },
  39: { fg: "" }, 49: { bg: "" },
};

/** A colour of the 256: the first 16 by name, which the theme decides. */
function colour(number) {
  if (number < COLOURS) return `c${number}`;
  if (number >= 232) return `rgb(${[0, 0, 0].fill(8 + (number - 232) * 10).join(" ")})`;
  const cube = [36, 6, 1].map((size) => Math.floor((number - 16) / size) % 6).map((n) => (n ? 55 + 40 * n : 0));
  return `rgb(${cube.join(" ")})`;
}

function paint(screen, numbers) {
  const left = numbers.length ? [...numbers] : [0];
  while (left.length) {
    const n = left.shift();
    if (n === 0) screen.paint(null);
    else if (FACES[n]) screen.paint(FACES[n]);
    else if (n >= 30 && n <= 37) screen.paint({ fg: colour(n - 30) });
    else if (n >= 40 && n <= 47) screen.paint({ bg: colour(n - 40) });
    else if (n >= 90 && n <= 97) screen.paint({ fg: colour(n - 82) });
    else if (n >= 100 && n <= 107) screen.paint({ bg: colour(n - 92) });
    else if (n === 38 || n === 48) {
      const kind = left.shift();
      const found = kind === 5 ? colour(left.shift() & 255) : kind === 2 ? rgb(left.splice(0, 3)) : "";
      screen.paint(n === 38 ? { fg: found } : { bg: found });
    }
  }
}

function rgb(parts) {
  return `rgb(${[0, 1, 2].map((n) => (parts[n] || 0) & 255).join(" ")})`;
}

const COMMANDS = {
  A: (s, n) => s.go(s.x, s.y - n()),
  B: (s, n) => s.go(s.x, s.y + n()),
  C: (s, n) => s.go(s.x + n(), s.y),
  D: (s, n) => s.go(s.x - n(), s.y),
  E: (s, n) => s.go(0, s.y + n()),
  F: (s, n) => s.go(0, s.y - n()),
  G: (s, n) => s.go(n() - 1, s.y),
  d: (s, n) => s.go(s.x, n() - 1),
  H: (s, n) => s.go(n(1) - 1, n(0) - 1),
  f: (s, n) => s.go(n(1) - 1, n(0) - 1),
  J: (s, n) => s.erase(n(0, 0)),
  K: (s, n) => s.eraseInLine(n(0, 0)),
  L: (s, n) => s.scroll(-n(), s.y),
  M: (s, n) => deleteLines(s, n()),
  P: (s, n) => s.shift(-n()),
  X: (s, n) => erase(s, n()),
  "@": (s, n) => s.shift(n()),
  S: (s, n) => s.scroll(n()),
  T: (s, n) => s.scroll(-n()),
  r: (s, n) => s.margins(n(0) - 1, n(1, s.rows) - 1),
  s: (s) => s.save(),
  u: (s) => s.restore(),
  n: (s, n) => n(0, 0) === 6 && s.answer(`\x1b[${s.y + 1};${s.x + 1}R`),
  c: (s) => s.answer("\x1b[?62;22c"),
};

function erase(screen, count) {
  for (let x = screen.x; x < Math.min(screen.cols, screen.x + count); x += 1) screen.lines[screen.y][x] = screen.cell();
}

function deleteLines(screen, count) {
  const from = screen.y;
  for (let n = 0; n < Math.min(count, screen.bottom - from + 1); n += 1) {
    screen.lines.splice(from, 1);
    screen.lines.splice(screen.bottom, 0, screen.blank());
  }
}

const CONTROLS = {
  "\b": (s) => s.go(s.x - 1, s.y),
  "\t": (s) => s.go((Math.floor(s.x / 8) + 1) * 8, s.y),
  "\n": (s) => s.down(),
  "\v": (s) => s.down(),
  "\f": (s) => s.down(),
  "\r": (s) => s.go(0, s.y),
};
const ESCAPES = {
  7: (s) => s.save(),
  8: (s) => s.restore(),
  D: (s) => s.down(),
  E: (s) => (s.go(0, s.y), s.down()),
  M: (s) => s.up(),
  c: (s) => s.reset(),
};
const LONGEST = 4096; // of a sequence; what is longer is none

export function parser(screen) {
  let rest = "";

  function command(body, last) {
    const mark = /^[?>=!]/.test(body) ? body[0] : "";
    const numbers = body.slice(mark.length).replaceAll(":", ";").split(";").map(Number).map((n) => n || 0);
    if (mark === "?" && (last === "h" || last === "l")) {
      for (const number of numbers) MODES[number]?.(screen, last === "h");
    } else if (mark) {
      return;
    } else if (last === "m") {
      paint(screen, body ? numbers : []);
    } else {
      COMMANDS[last]?.(screen, (index = 0, missing = 1) => Math.min(numbers[index] || missing, 9999));
    }
  }

  /** The length of the sequence at the beginning of `text`, 0 where it is not complete. */
  function sequence(text) {
    if (text.length < 2) return 0;
    const kind = text[1];
    if (kind === "[") {
      const found = /^\x1b\[([0-?]*)[ -/]*([@-~])/.exec(text);
      if (found) command(found[1], found[2]);
      return found ? found[0].length : /^\x1b\[[0-?]*[ -/]*$/.test(text) ? 0 : 2;
    }
    if (kind === "]" || kind === "P" || kind === "_" || kind === "^") {
      const end = /\x07|\x1b\\/.exec(text.slice(2));
      return end ? 2 + end.index + end[0].length : 0;
    }
    if ("()*+#%".includes(kind)) return text.length < 3 ? 0 : 3;
    ESCAPES[kind]?.(screen);
    return 2;
  }

  return (written) => {
    let text = rest + written;
    rest = "";
    while (text) {
      if (text[0] === "\x1b") {
        const length = sequence(text);
        if (!length) {
          rest = text.length > LONGEST ? "" : text;
          return;
        }
        text = text.slice(length);
        continue;
      }
      const end = text.indexOf("\x1b");
      for (const character of end < 0 ? text : text.slice(0, end)) {
        if (CONTROLS[character]) CONTROLS[character](screen);
        else if (character >= " " && character !== "\x7f") screen.print(character);
      }
      text = end < 0 ? "" : text.slice(end);
    }
  };
}
