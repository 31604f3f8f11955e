// What every page has of script: dates and fields for them in the viewer's zone, copy buttons, the theme, forms that are sent once.
import "./dates.js";
import "./copy.js";
import "./theme.js";
import "./zones.js";
import { say } from "./say.js";

// Of the links of the navigation, which may scroll at its width, the current one is seen.
document.querySelector(".nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

// A form is sent once, however often its button is pressed.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented) return;
  if (form.dataset.slow) {
    event.submitter?.setAttribute("aria-busy", "true");
    say(form.dataset.slow);
  }
  if (form.method !== "post") return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "true";
  event.submitter?.setAttribute("aria-busy", "true");
});
// Back to a page that the browser kept: its forms may be sent again.
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  for (const button of document.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
});

// A menu or a question closes when something else is pressed, or by Escape.
document.addEventListener("click", (event) => {
  for (const open of document.querySelectorAll("details.menu[open], details.confirm[open]")) {
    if (!open.contains(event.target)) open.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const open = event.target.closest?.("details.menu[open], details.confirm[open]");
  if (open) {
    open.open = false;
    open.querySelector("summary").focus();
  }
});
