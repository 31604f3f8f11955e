// The theme changes at once; the server keeps it in a cookie, so that the next page has it from its first paint.
import { post } from "./csrf.js";

const form = document.querySelector("[data-theme-form]");
form?.addEventListener("submit", (event) => {
  const theme = event.submitter?.value;
  if (!theme) return;
  event.preventDefault();
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  for (const button of form.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.value === theme));
  post(form.action, new URLSearchParams({ csrf: document.body.dataset.csrf, theme, back: "" }));
});
