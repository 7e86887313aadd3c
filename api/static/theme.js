// Dark or light, before anything is drawn: what was chosen here, else what the system prefers.
"use strict";

const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;

function theme() {
  return localStorage.getItem("theme") || (systemIsDark.matches ? "dark" : "light");
}

function paint() {
  root.dataset.bsTheme = theme();
}

paint();
systemIsDark.addEventListener("change", paint);
addEventListener("storage", paint);
addEventListener("DOMContentLoaded", () => {
  root.classList.add("scripted");
  document.getElementById("theme").addEventListener("click", () => {
    const wanted = theme() === "dark" ? "light" : "dark";
    const system = systemIsDark.matches ? "dark" : "light";
    if (wanted === system) localStorage.removeItem("theme");
    else localStorage.setItem("theme", wanted);
    paint();
  });
});
