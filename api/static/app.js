// The list of one's environments, which lives, and the form that submits a contract.
"use strict";

const API = "/api/v1/environments";
const MAKING = ["queued", "claimed", "building", "starting", "stopping", "deleting"];
const STATES = [...MAKING, "running", "stopped", "failed"];
const csrf = document.querySelector('meta[name="csrf"]').content;
const list = document.getElementById("environments");
const notice = document.getElementById("notice");
const rows = new Map();
let requestKey = crypto.getRandomValues(new Uint32Array(4)).join("-");
let timer = 0;

async function call(method, url, body) {
  const headers = { Accept: "application/json", "X-CSRF-Token": csrf };
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    headers["Idempotency-Key"] = requestKey;
  }
  const answer = await fetch(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (answer.status === 401) location.assign("/");
  return { ok: answer.ok, body: await answer.json() };
}

function row(environment) {
  const item = document.getElementById("row").content.firstElementChild.cloneNode(true);
  const at = `${API}/${environment.id}`;
  const act = (method, url) => async () => {
    const answer = await call(method, url);
    notice.textContent = answer.ok ? "" : answer.body.detail;
    refresh();
  };
  item.querySelector(".stop").onclick = act("POST", `${at}/stop`);
  item.querySelector(".start").onclick = act("POST", `${at}/start`);
  const remove = act("DELETE", at);
  item.querySelector(".delete").onclick = () => {
    if (confirm(`Delete ${environment.name} and all of its files?`)) remove();
  };
  return item;
}

function where(environment) {
  if (environment.position) return `place ${environment.position} in the queue`;
  return [environment.host, environment.gpus.length ? `${environment.gpus.length} GPU` : ""].filter(Boolean).join(" · ");
}

function show(item, environment) {
  item.className = `row ${environment.state}`;
  item.querySelector(".name").textContent = environment.name;
  item.querySelector(".state").textContent = environment.state;
  item.querySelector(".where").textContent = where(environment);
  item.querySelector(".message").textContent = environment.message;
  const bar = item.querySelector("progress");
  bar.value = environment.progress;
  bar.hidden = environment.state === "stopped";
  bar.setAttribute("aria-label", `${environment.name}: ${environment.progress} %`);
  item.querySelector(".stop").hidden = environment.state !== "running";
  item.querySelector(".start").hidden = environment.state !== "stopped";
  item.querySelector(".delete").hidden = environment.state === "deleting";
}

async function refresh() {
  clearTimeout(timer);
  let wait = 5000;
  try {
    const { ok, body } = await call("GET", `${API}?limit=100&state=${STATES.join(",")}`);
    if (!ok) throw new Error(body.detail);
    const found = body.environments;
    const ids = new Set(found.map((environment) => environment.id));
    for (const [id, item] of rows) {
      if (!ids.has(id)) {
        item.remove();
        rows.delete(id);
      }
    }
    found.forEach((environment, place) => {
      if (!rows.has(environment.id)) rows.set(environment.id, row(environment));
      const item = rows.get(environment.id);
      show(item, environment);
      if (list.children[place] !== item) list.insertBefore(item, list.children[place] || null);
    });
    notice.textContent = found.length ? "" : "There is none yet. Fill in the form above and press Submit.";
    if (found.some((environment) => MAKING.includes(environment.state))) wait = 1000;
  } catch (error) {
    notice.textContent = `The server cannot be reached; trying again. ${error.message}`;
  }
  timer = setTimeout(refresh, wait);
}

function showProblems(problems) {
  const box = document.getElementById("problems");
  box.hidden = problems.length === 0;
  box.replaceChildren(
    ...problems.map((problem) => {
      const item = document.createElement("li");
      item.textContent = problem.path ? `${problem.path}: ${problem.message}` : problem.message;
      return item;
    }),
  );
}

document.getElementById("submit").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const lines = form.get("libraries").split("\n").map((line) => line.trim()).filter(Boolean);
  const contract = {
    "env-name": form.get("env-name"),
    version: "1",
    language: { "image-name": "python", version: form.get("version"), libraries: lines },
    resources: { ram: form.get("ram"), cpu: form.get("cpu"), gpu: form.get("gpu"), storage: form.get("storage") },
  };
  try {
    const { ok, body } = await call("POST", API, contract);
    showProblems(ok ? [] : body.errors || [{ path: "", message: body.detail }]);
    requestKey = crypto.getRandomValues(new Uint32Array(4)).join("-");
    if (ok) refresh();
  } catch (error) {
    showProblems([{ path: "", message: `The server cannot be reached. Press Submit again. ${error.message}` }]);
  }
});

refresh();
