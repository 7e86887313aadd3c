// A list of libraries as chips. The text area beneath keeps what is sent, one a line, and serves without a script.

export function chips(area) {
  const box = document.createElement("div");
  const list = document.createElement("ul");
  const input = document.createElement("input");
  box.className = "chipbox form-control";
  box.classList.toggle("is-invalid", area.classList.contains("is-invalid"));
  list.className = "chips";
  input.setAttribute("list", area.dataset.chips);
  for (const name of ["aria-invalid", "aria-describedby"]) {
    if (area.hasAttribute(name)) input.setAttribute(name, area.getAttribute(name));
  }
  input.autocomplete = "off";
  input.spellcheck = false;
  input.placeholder = "Add a library";
  input.id = `${area.id}-add`;
  document.querySelector(`label[for=${area.id}]`).htmlFor = input.id;
  box.append(list, input);
  area.before(box);
  area.hidden = true;

  const read = () => area.value.split("\n").map((line) => line.trim()).filter(Boolean);

  function write(lines) {
    area.value = [...new Set(lines)].join("\n");
    draw();
    area.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function draw() {
    list.replaceChildren(
      ...read().map((line) => {
        const chip = document.createElement("li");
        const name = document.createElement("bdi");
        const remove = document.createElement("button");
        name.textContent = line;
        remove.type = "button";
        remove.textContent = "×";
        remove.ariaLabel = `Remove ${line}`;
        remove.addEventListener("click", () => {
          write(read().filter((other) => other !== line));
          input.focus();
        });
        chip.append(name, remove);
        return chip;
      }),
    );
    list.hidden = !list.children.length;
  }

  /** Lines of a requirements list, without its comments and hashes. */
  function lines(text) {
    return text
      .replace(/\\\r?\n/g, " ")
      .split(/\r?\n/)
      .map((line) => line.replace(/(^|\s)#.*/, "").replace(/\s--hash=\S+/g, "").trim().replace(/,$/, ""))
      .filter(Boolean);
  }

  function add() {
    const found = lines(input.value);
    input.value = "";
    if (found.length) write([...read(), ...found]);
  }

  input.addEventListener("keydown", (event) => {
    if ((event.key === "Enter" || event.key === ",") && input.value.trim()) {
      if (event.key === "," && /\[[^\]]*$|[<>=!~]/.test(input.value)) return; // within extras or versions
      event.preventDefault();
      add();
    } else if (event.key === "Enter") {
      event.preventDefault();
    } else if (event.key === "Backspace" && !input.value) {
      write(read().slice(0, -1));
    }
  });
  input.addEventListener("input", (event) => {
    // a proposal that was chosen comes as a whole
    if (event.inputType === "insertReplacementText" || event.inputType === undefined) add();
  });
  input.addEventListener("paste", (event) => {
    const text = event.clipboardData.getData("text");
    if (!/[\n]/.test(text)) return;
    event.preventDefault();
    write([...read(), ...lines(text)]);
  });
  input.addEventListener("blur", add);
  area.form.addEventListener("submit", add, { capture: true });
  draw();
}
