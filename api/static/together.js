// Asks a host whether the libraries of the form go together. The form goes on meanwhile; what has changed asks anew.
import { morph } from "./morph.js";

const ASKED = ["system", "python", "framework", "libraries", "gpu"]; // another value makes the answer an old one

export function together(form) {
  const button = form.querySelector("[data-together]");
  const box = document.getElementById("together");
  let asked = 0;

  function say(words) {
    const line = document.createElement("p");
    line.className = "hint";
    line.textContent = words;
    box.replaceChildren(line);
  }

  async function ask() {
    const body = new URLSearchParams(new FormData(form));
    const answer = await fetch(button.dataset.together, { method: "POST", headers: { Accept: "text/html" }, body });
    if (answer.redirected) location.assign(answer.url); // the session has ended
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    return new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("together");
  }

  button.addEventListener("click", async () => {
    const number = ++asked;
    say("A host looks for versions that go together…");
    try {
      const fresh = await ask();
      if (number === asked) morph(box, fresh);
    } catch {
      if (number === asked) say("There was no answer. Ask again in a moment.");
    }
  });
  form.addEventListener("input", (event) => {
    if (!ASKED.includes(event.target.name)) return;
    asked += 1;
    box.replaceChildren();
  });
}
