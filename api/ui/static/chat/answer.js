// One answer on its way: plain text as it comes, and Markdown of the server's at most once a second.
import { showButtons } from "../copy.js";
import { post } from "../csrf.js";

const EVERY_MS = 1000;
const LONGEST = 100_000;

export function made(name) {
  return document.querySelector(`template[data-template="${name}"]`).content.cloneNode(true).firstElementChild;
}

// Buttons that copy a block of code: without script they would do nothing, so the server writes none.
export function addCopyButtons(root) {
  for (const caption of root.querySelectorAll(".code-block > figcaption:not(:has(button))")) {
    const button = made("copy");
    button.dataset.copy = caption.parentElement.querySelector("code").textContent;
    caption.append(button);
  }
  showButtons(root);
}

export class Answer {
  constructor(address) {
    this.element = made("answer");
    this.text = "";
    this.address = address;
    this.shown = 0;
    this.isAsking = false;
    this.isOver = false;
    this.due = 0;
    this.find = (name) => this.element.querySelector(`[data-${name}]`);
    this.thoughts = this.element.querySelector(".thoughts");
  }

  state(text) {
    const place = this.find("state");
    if (place && place.textContent !== text) place.textContent = text;
  }

  served({ tier, model }) {
    this.by = [tier, model && decodeURIComponent(model)].filter(Boolean).join(" \u00b7 ");
    if (this.text) this.state(this.by);
  }

  add(text) {
    this.text += text;
    this.find("tail").append(text);
    this.state(this.by ?? "Answering");
    this.thoughts.open = false;
    if (!this.timer && !this.isAsking) this.timer = setTimeout(() => this.render(), Math.max(0, this.due - Date.now()));
  }

  think(text) {
    if (this.thoughts.hidden) {
      this.thoughts.hidden = false;
      this.thoughts.open = true;
      this.state("Thinking");
    }
    this.thoughts.querySelector(".words").append(text);
  }

  async render() {
    this.timer = null;
    if (this.isOver || this.text.length > LONGEST) return;
    this.isAsking = true;
    const begun = Date.now();
    const size = this.text.length;
    try {
      const response = await post(this.address, { text: this.text });
      if (response.ok && !this.isOver) {
        this.find("done").innerHTML = await response.text();
        this.find("tail").textContent = this.text.slice(size);
        addCopyButtons(this.element);
        this.onShown?.();
      }
    } catch {
      // The text is there as it came.
    }
    this.isAsking = false;
    // A long text takes the server longer: it is asked less often for it.
    this.due = begun + Math.max(EVERY_MS, 10 * (Date.now() - begun));
    if (this.text.length > size && !this.isOver) this.timer = setTimeout(() => this.render(), Math.max(0, this.due - Date.now()));
  }

  // What is stored takes the place of what was streamed; only the thoughts are kept from that.
  replaceBy(stored) {
    this.isOver = true;
    clearTimeout(this.timer);
    if (!this.thoughts.hidden) {
      this.thoughts.open = false;
      stored.querySelector(".prose").before(this.thoughts);
    }
    this.element.replaceWith(stored);
  }

  // Nothing of it is stored, or that is not known.
  async end(note) {
    clearTimeout(this.timer);
    this.timer = null;
    if (this.text) await this.render();
    this.isOver = true;
    clearTimeout(this.timer);
    this.element.removeAttribute("aria-busy");
    this.element.querySelector(".dots")?.remove();
    this.state(note);
    if (!this.text && this.thoughts.hidden) this.element.remove();
  }
}
