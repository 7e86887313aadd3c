// The form of a new environment: dials, chips, a dropped file, and what would happen, while it changes.
import { chips } from "./chips.js";
import { dials } from "./dials.js";
import { morph } from "./morph.js";
import { together } from "./together.js";

const CHECK_AFTER_MS = 250;
const SHOWN = ["outlook", "contract"];

const form = document.getElementById("new");
const fill = document.getElementById("fill");
const system = form.elements.system;
const python = form.elements.python;
let timer = 0;
let asked = 0;

async function check() {
  const number = ++asked;
  let text;
  try {
    const body = new URLSearchParams(new FormData(form));
    const answer = await fetch(form.dataset.check, { method: "POST", headers: { Accept: "text/html" }, body });
    if (answer.redirected) return location.assign(answer.url);
    if (!answer.ok) return;
    text = await answer.text();
  } catch {
    return; // the next change asks again
  }
  if (number !== asked) return;
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const id of SHOWN) morph(document.getElementById(id), fresh.getElementById(id));
}

function changed() {
  clearTimeout(timer);
  timer = setTimeout(check, CHECK_AFTER_MS);
}

function fits() {
  for (const option of python.options) {
    const on = option.dataset.on;
    option.hidden = option.disabled = Boolean(on) && !on.split(",").includes(system.value);
  }
  if (python.selectedOptions[0]?.disabled) python.value = [...python.options].findLast((o) => !o.disabled)?.value;
  form.elements.gpus.hidden = !form.elements.gpu.value;
}

function put(values) {
  for (const [name, value] of Object.entries(values)) form.elements[name].value = value;
  form.dispatchEvent(new Event("input"));
}

form.addEventListener("input", () => {
  fits();
  changed();
});
form.addEventListener("click", (event) => {
  const button = event.target.closest("[data-set]");
  if (button) put(JSON.parse(button.dataset.set));
  const drop = event.target.closest("[data-drop]");
  if (!drop) return;
  document.getElementById(drop.dataset.drop).remove();
  changed();
});
form.addEventListener("submit", () => {
  // a second press while the first is under way sends nothing new: the key makes it one environment anyway
  setTimeout(() => (form.querySelector("button[type=submit]").disabled = true));
});
form.elements.template.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault(); // or Enter here would submit the environment
  event.target.nextElementSibling.click();
});
addEventListener("pageshow", () => (form.querySelector("button[type=submit]").disabled = false));

fill.elements.file.addEventListener("change", () => fill.submit());
for (const name of ["dragover", "drop"]) {
  document.addEventListener(name, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    document.body.classList.toggle("dropping", name === "dragover");
    if (name !== "drop" || !event.dataTransfer.files.length) return;
    fill.elements.file.files = event.dataTransfer.files;
    fill.submit();
  });
}
document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));

chips(document.querySelector("[data-chips]"));
dials(form);
together(form);
fits();
document.getElementById("faults")?.focus();
