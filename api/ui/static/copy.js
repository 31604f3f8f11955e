// Buttons that copy. Without script there is none: the text can be selected.
import { say } from "./say.js";

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without https browsers have no clipboard, but still this.
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "unseen";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

export function showButtons(root = document) {
  for (const button of root.querySelectorAll("button[data-copy][hidden]")) button.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("button[data-copy]");
  if (!button) return;
  const done = await copied(button.dataset.copy);
  button.focus();
  button.classList.toggle("copied", done);
  say(done ? "Copied." : "Copying did not work: select the text instead.");
  setTimeout(() => button.classList.remove("copied"), 1600);
});
showButtons();
