// The order of tiers by drag and by keyboard, saved by its form; downloads, followed until they are done.
import { say } from "./say.js";

function showEnds(list) {
  for (const button of list.querySelectorAll("[data-end]")) button.removeAttribute("data-end");
  list.firstElementChild.querySelector('[value^="up"]').setAttribute("data-end", "");
  list.lastElementChild.querySelector('[value^="down"]').setAttribute("data-end", "");
}

function said(list, item) {
  const place = [...list.children].indexOf(item) + 1;
  say(`${item.dataset.tier} is now ${place} of ${list.children.length}. Not saved yet.`);
}

function move(list, item, way) {
  const other = way < 0 ? item.previousElementSibling : item.nextElementSibling;
  if (!other) return;
  if (way < 0) other.before(item);
  else other.after(item);
  changed(list, item);
}

function changed(list, item) {
  showEnds(list);
  said(list, item);
  list.closest("form").querySelector(".order-foot button").disabled = false;
}

function sortable(form) {
  const list = form.querySelector(".order");
  const save = form.querySelector(".order-foot button");
  save.disabled = true;
  list.classList.add("sortable");
  form.addEventListener("change", () => { save.disabled = false; });
  // Without script each of these buttons saves at once.
  list.addEventListener("click", (event) => {
    const button = event.target.closest("button[name=move]");
    if (!button) return;
    event.preventDefault();
    const item = button.closest("li");
    move(list, item, button.value.startsWith("up") ? -1 : 1);
    const stays = button.hasAttribute("data-end") ? item.querySelector("button[name=move]:not([data-end])") : button;
    stays.focus();
  });
  list.addEventListener("keydown", (event) => {
    const way = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!way || !event.altKey) return;
    event.preventDefault();
    const focused = document.activeElement;
    move(list, event.target.closest("li"), way);
    focused.focus();
  });
  drag(list);
}

// By pointer events, so that a finger drags as a mouse does.
function drag(list) {
  list.addEventListener("pointerdown", (event) => {
    const handle = event.target.closest(".handle");
    if (!handle) return;
    event.preventDefault();
    const item = handle.closest("li");
    item.classList.add("moving");
    handle.setPointerCapture(event.pointerId);
    const over = (now) => {
      const other = [...list.children].find((one) => {
        const box = one.getBoundingClientRect();
        return one !== item && now.clientY > box.top && now.clientY < box.bottom;
      });
      if (!other) return;
      const isBelow = Boolean(item.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING);
      if (isBelow) other.after(item);
      else other.before(item);
      changed(list, item);
      handle.setPointerCapture(event.pointerId);
    };
    const end = () => {
      item.classList.remove("moving");
      handle.removeEventListener("pointermove", over);
    };
    handle.addEventListener("pointermove", over);
    handle.addEventListener("lostpointercapture", end, { once: false });
    handle.addEventListener("pointerup", end, { once: true });
  });
}

function isInUse(section) {
  return Boolean(section.querySelector("details[open]")) || section.contains(document.activeElement);
}

async function followDownloads() {
  const section = document.getElementById("ollama");
  if (!section?.querySelector("[data-pulling]")) return;
  if (!isInUse(section) && !document.hidden) {
    try {
      const response = await fetch(section.dataset.source, { headers: { accept: "text/html" }, redirect: "error" });
      if (response.ok) {
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        const found = page.getElementById("ollama");
        // A menu may have been opened meanwhile.
        if (found && !isInUse(section)) {
          section.replaceWith(found);
          if (!found.querySelector("[data-pulling]")) say("The download has ended.");
        }
      }
    } catch {
      // Later again.
    }
  }
  setTimeout(followDownloads, 1500);
}

for (const form of document.querySelectorAll("[data-order]")) sortable(form);
followDownloads();
