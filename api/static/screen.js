// The screen of a terminal: what a program writes, with its control sequences (ECMA-48, as xterm has them), as rows of
// cells. It knows nothing of the page; `view.js` draws it.
import { parser } from "./sequences.js";

const PLAIN = Object.freeze({ fg: "", bg: "", bold: false, dim: false, italic: false, underline: false, inverse: false });
const SCROLLBACK_ROWS = 3000;
const WIDE = /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1f64f}\u{1f900}-\u{1f9ff}\u{20000}-\u{3fffd}]/u;
const COMBINING = /\p{Mn}|\p{Me}|\u200d|\ufe0f/u;

const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

export class Screen {
  constructor(rows, cols, answer = () => {}) {
    this.answer = answer; // what the terminal says to the program by itself
    this.parse = parser(this);
    this.reset(rows, cols);
  }

  reset(rows = this.rows, cols = this.cols) {
    Object.assign(this, { rows, cols, style: PLAIN, x: 0, y: 0, top: 0, bottom: rows - 1, wrapping: false });
    Object.assign(this, { title: "", cursorShown: true, keysOfApplication: false, pasteIsMarked: false, autowrap: true });
    this.scrollback = [];
    this.dropped = 0; // rows that left the scrollback
    this.kept = null; // the main screen, while a program has the other one
    this.saved = { x: 0, y: 0, style: PLAIN };
    this.lines = this.blanks(rows);
  }

  write(text) {
    this.parse(text);
  }

  resize(rows, cols) {
    const fit = (lines, scrolled) => {
      while (lines.length > rows && lines.length > this.y + 1) lines.pop();
      while (lines.length > rows) {
        const gone = lines.shift();
        if (scrolled) this.keep(gone);
        this.y = Math.max(0, this.y - 1);
      }
      while (lines.length < rows) lines.push(this.blank());
    };
    this.cols = cols;
    fit(this.lines, !this.kept);
    if (this.kept) fit(this.kept.lines, false);
    for (const line of [...this.lines, ...(this.kept?.lines || [])]) {
      while (line.length < cols) line.push(this.cell());
    }
    Object.assign(this, { rows, top: 0, bottom: rows - 1, wrapping: false });
    this.go(this.x, this.y);
  }

  cell() {
    return { text: " ", style: this.style.bg ? { ...PLAIN, bg: this.style.bg } : PLAIN };
  }

  blank() {
    return Array.from({ length: this.cols }, () => this.cell());
  }

  blanks(count) {
    return Array.from({ length: count }, () => this.blank());
  }

  keep(line) {
    this.scrollback.push(line);
    if (this.scrollback.length > SCROLLBACK_ROWS) {
      this.scrollback.shift();
      this.dropped += 1;
    }
  }

  print(character) {
    if (COMBINING.test(character)) {
      const before = this.lines[this.y][Math.max(0, this.x - 1)];
      if (before.text.length < 8) before.text += character;
      return;
    }
    const width = WIDE.test(character) ? 2 : 1;
    if (this.wrapping || this.x + width > this.cols) {
      if (this.autowrap) {
        this.x = 0;
        this.down();
      } else {
        this.x = this.cols - width;
      }
    }
    const line = this.lines[this.y];
    line[this.x] = { text: character, style: this.style };
    if (width === 2) line[this.x + 1] = { text: "", style: this.style };
    this.wrapping = this.x + width >= this.cols;
    this.x = Math.min(this.cols - 1, this.x + width);
  }

  go(x, y) {
    this.x = clamp(x, 0, this.cols - 1);
    this.y = clamp(y, 0, this.rows - 1);
    this.wrapping = false;
  }

  down() {
    this.wrapping = false;
    if (this.y === this.bottom) this.scroll(1);
    else this.y = Math.min(this.rows - 1, this.y + 1);
  }

  up() {
    if (this.y === this.top) this.scroll(-1);
    else this.y = Math.max(0, this.y - 1);
  }

  /** Rows between the margins move upward, or downward for a negative count. */
  scroll(count, top = this.top) {
    const times = Math.min(Math.abs(count), this.bottom - top + 1);
    for (let n = 0; n < times; n += 1) {
      const [gone] = this.lines.splice(count > 0 ? top : this.bottom, 1);
      this.lines.splice(count > 0 ? this.bottom : top, 0, this.blank());
      if (count > 0 && top === 0 && !this.kept) this.keep(gone);
    }
  }

  /** Insert blank cells at the cursor, or take them out for a negative count. */
  shift(count) {
    const line = this.lines[this.y];
    const cells = Array.from({ length: Math.min(Math.abs(count), this.cols - this.x) }, () => this.cell());
    if (count > 0) line.splice(this.x, 0, ...cells);
    else line.splice(this.x, cells.length), line.push(...cells);
    line.length = this.cols;
  }

  eraseInLine(how) {
    const [from, to] = [[this.x, this.cols], [0, this.x + 1], [0, this.cols]][how] || [0, 0];
    for (let x = from; x < to; x += 1) this.lines[this.y][x] = this.cell();
  }

  erase(how) {
    if (how === 3) this.scrollback = [];
    if (how > 2) return;
    const [from, to] = [[this.y + 1, this.rows], [0, this.y], [0, this.rows]][how];
    for (let y = from; y < to; y += 1) this.lines[y] = this.blank();
    if (how < 2) this.eraseInLine(how);
  }

  margins(top, bottom) {
    if (top >= bottom || bottom >= this.rows) [top, bottom] = [0, this.rows - 1];
    Object.assign(this, { top, bottom });
    this.go(0, 0);
  }

  save() {
    this.saved = { x: this.x, y: this.y, style: this.style };
  }

  restore() {
    this.style = this.saved.style;
    this.go(this.saved.x, this.saved.y);
  }

  /** The other screen, which programs like vim take; what was there before comes back after it. */
  alternate(on) {
    if (on && !this.kept) {
      this.kept = { lines: this.lines };
      this.lines = this.blanks(this.rows);
    } else if (!on && this.kept) {
      this.lines = this.kept.lines;
      this.kept = null;
    }
  }

  paint(change) {
    this.style = change ? Object.freeze({ ...this.style, ...change }) : PLAIN;
  }

  /** Its rows as text, for tests and for readers of the screen. */
  text() {
    return this.lines.map((line) => line.map((cell) => cell.text).join("").trimEnd());
  }
}
