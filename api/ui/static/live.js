// The live page keeps what the server painted up to date, from one stream of events.
// Everything that moves is keyed: what stays is changed in its place, so that a menu that is open stays open.
import { post } from "./csrf.js";
import { say } from "./say.js";

const badge = document.getElementById("stream");
const lists = new Map([...document.querySelectorAll("[data-list]")].map((list) => [list.dataset.list, list]));
const templates = new Map([...document.querySelectorAll("template[data-of]")].map((one) => [one.dataset.of, one]));

function duration(milliseconds) {
  const seconds = Math.max(0, milliseconds / 1000);
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h`;
}

function each(root, selector, change) {
  if (root.matches?.(selector)) change(root);
  for (const element of root.querySelectorAll(selector)) change(element);
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function fill(root, fields) {
  each(root, "[data-text]", (element) => setText(element, String(fields[element.dataset.text] ?? "")));
  each(root, "[data-kind]", (element) => { element.className = `badge ${fields[element.dataset.kind] ?? ""}`; });
  each(root, "[data-title]", (element) => { element.title = fields[element.dataset.title]; });
  each(root, "[data-value]", (element) => { element.value = fields[element.dataset.value]; });
  each(root, "[data-if]", (element) => { element.hidden = !fields[element.dataset.if]; });
  each(root, "[data-unless]", (element) => { element.hidden = Boolean(fields[element.dataset.unless]); });
  each(root, "[data-since]", (element) => { element.dataset.at = fields[element.dataset.since] ?? ""; });
  each(root, "meter", (element) => {
    element.max = fields[element.dataset.max] || 1;
    element.value = fields[element.dataset.number];
  });
}

function made(name, key, fields) {
  const row = templates.get(name).content.firstElementChild.cloneNode(true);
  row.dataset.key = key;
  const id = fields.request ?? fields.worker;
  each(row, "form", (form) => {
    if (id) form.setAttribute("action", form.getAttribute("action").replace("/ID/", `/${encodeURIComponent(id)}/`));
  });
  return row;
}

function update(name, change) {
  const list = lists.get(name);
  const known = new Map([...list.children].map((row) => [row.dataset.key, row]));
  const wanted = new Set(change.order);
  for (const [key, row] of known) {
    if (!wanted.has(key)) row.remove();
  }
  let before = list.firstElementChild;
  for (const key of change.order) {
    const fields = change.changed[key];
    const row = known.get(key) ?? made(name, key, fields);
    if (fields) fill(row, fields);
    if (row === before) before = before.nextElementSibling;
    else list.insertBefore(row, before);
  }
  const isEmpty = change.order.length === 0;
  for (const place of document.querySelectorAll(`[data-empty="${name}"]`)) place.hidden = !isEmpty;
  for (const place of document.querySelectorAll(`[data-filled="${name}"]`)) place.hidden = isEmpty;
}

function place(positions) {
  for (const row of lists.get("requests").children) {
    setText(row.querySelector("[data-position]"), String(positions[row.dataset.key] || "–"));
  }
}

function tick() {
  const now = Date.now();
  for (const element of document.querySelectorAll("[data-since]")) {
    setText(element, element.dataset.at ? duration(now - Number(element.dataset.at)) : "");
  }
}

function take(event) {
  const changes = JSON.parse(event.data);
  if (changes.summary) {
    fill(document.getElementById("summary"), changes.summary);
    const more = document.getElementById("not-shown");
    fill(more, changes.summary);
    more.hidden = !changes.summary.not_shown;
  }
  for (const [name, change] of Object.entries(changes.lists ?? {})) update(name, change);
  if (changes.positions) place(changes.positions);
  tick();
}

function show(state, text) {
  badge.dataset.state = state;
  badge.className = `badge ${{ live: "good", lost: "warn", ended: "bad" }[state]}`;
  setText(badge, text);
}

function follow() {
  const source = new EventSource(badge.dataset.stream);
  source.onopen = () => show("live", "live");
  source.onmessage = take;
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) show("ended", "not live: load the page again");
    else show("lost", "connecting again …");
  };
  source.addEventListener("end", () => {
    source.close();
    location.reload();
  });
  window.addEventListener("pagehide", () => source.close());
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
}

// An action stays on the page, which shows what came of it.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.closest("[data-list]")) return;
  event.preventDefault();
  const body = new URLSearchParams(new FormData(form));
  const button = event.submitter;
  button?.setAttribute("aria-busy", "true");
  try {
    const response = await post(form.getAttribute("action"), body);
    const text = await response.text();
    const said = response.ok ? text : (JSON.parse(text).error?.message ?? JSON.parse(text).error ?? "It did not work.");
    notice(said, response.ok);
  } catch {
    notice("The gateway does not answer.", false);
  }
  button?.removeAttribute("aria-busy");
  const menu = form.closest("details");
  if (menu) menu.open = false;
}, true);

function notice(text, isDone) {
  let box = document.getElementById("notice");
  if (!box) {
    box = document.createElement("p");
    box.id = "notice";
    document.getElementById("main").prepend(box);
  }
  box.className = `flash ${isDone ? "done" : "failed"}`;
  box.textContent = text;
  say(text);
}

if (badge?.dataset.stream && lists.size) {
  tick();
  setInterval(tick, 1000);
  follow();
}
