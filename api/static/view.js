// Draws a `Screen` into the page: one element a row, one span a run of cells that look the same.

export class View {
  constructor(box, screen) {
    this.box = box;
    this.screen = screen;
    this.rows = []; // elements: the scrollback, then the screen
    this.drawn = []; // what each shows
    this.waiting = false;
  }

  /** Rows and columns that the box has room for. */
  room() {
    const probe = document.createElement("span");
    probe.textContent = "M".repeat(50);
    this.box.append(probe);
    const { width, height } = probe.getBoundingClientRect();
    probe.remove();
    const style = getComputedStyle(this.box);
    const across = this.box.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const down = this.box.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
    const line = parseFloat(style.lineHeight) || height;
    return { cols: Math.max(20, Math.floor((across * 50) / width)), rows: Math.max(6, Math.floor(down / line)) };
  }

  soon() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  draw() {
    const { screen, box } = this;
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    const lines = [...screen.scrollback, ...screen.lines];
    const cursorAt = screen.cursorShown ? screen.scrollback.length + screen.y : -1;
    while (this.rows.length > lines.length) this.rows.pop().remove(), this.drawn.pop();
    lines.forEach((line, index) => {
      if (index === this.rows.length) {
        const row = document.createElement("div");
        box.append(row);
        this.rows.push(row);
        this.drawn.push("");
      }
      const cursor = index === cursorAt ? screen.x : -1;
      if (index < screen.scrollback.length && this.drawn[index]?.line === line && this.drawn[index].cursor < 0) return;
      const runs = runsOf(line, cursor);
      const mark = JSON.stringify(runs);
      if (this.drawn[index]?.mark !== mark) this.rows[index].replaceChildren(...runs.map(element));
      this.drawn[index] = { mark, line, cursor };
    });
    if (atEnd) box.scrollTop = box.scrollHeight;
  }
}

function runsOf(line, cursor) {
  const runs = [];
  let length = line.length;
  while (length > 1 && length - 1 > cursor && line[length - 1].text === " " && !line[length - 1].style.bg && !line[length - 1].style.inverse) length -= 1;
  for (let x = 0; x < length; x += 1) {
    const { text, style } = line[x];
    const last = runs[runs.length - 1];
    if (x !== cursor && last && !last.cursor && last.style === style) last.text += text;
    else runs.push({ text, style, cursor: x === cursor });
  }
  return runs;
}

function element({ text, style, cursor }) {
  const span = document.createElement("span");
  span.textContent = text;
  const [front, back] = style.inverse ? [style.bg || "back", style.fg || "front"] : [style.fg, style.bg];
  for (const [name, value] of [["fg", front], ["bg", back]]) {
    if (value.startsWith("rgb")) span.style.setProperty(name === "fg" ? "color" : "background-color", value);
    else if (value) span.classList.add(`${name}-${value}`);
  }
  for (const face of ["bold", "dim", "italic", "underline"]) if (style[face]) span.classList.add(face);
  if (cursor) span.classList.add("cursor");
  return span;
}
