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
  // `element` is one that the server has begun to fill.
  constructor(address, element = made("answer")) {
    this.element = element;
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

  // How far it is by what the server keeps of it.
  put(html) {
    const holder = document.createElement("template");
    holder.innerHTML = html;
    const at = (name) => holder.content.querySelector(name);
    this.isOver = true;
    clearTimeout(this.timer);
    this.text = at("[data-done]").textContent;
    this.find("done").replaceChildren(...at("[data-done]").childNodes);
    this.find("tail").textContent = "";
    this.thoughts.hidden = at(".thoughts").hidden;
    const words = this.thoughts.querySelector(".words");
    if (words.textContent !== at(".words").textContent) words.textContent = at(".words").textContent;
    this.state(at("[data-state]").textContent);
    addCopyButtons(this.element);
    this.onShown?.();
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

  // What is stored takes the place of what was streamed; thoughts that are not stored are kept from that.
  replaceBy(stored) {
    this.isOver = true;
    clearTimeout(this.timer);
    if (!this.thoughts.hidden && !stored.querySelector(".thoughts")) {
      this.thoughts.open = false;
      stored.querySelector(".prose").before(this.thoughts);
    }
    this.element.replaceWith(stored);
  }

  // Nothing of it is stored, or that is not known.
  async end(note) {
    clearTimeout(this.timer);
    this.timer = null;
    if (this.text && !this.isOver) await this.render();
    this.isOver = true;
    clearTimeout(this.timer);
    this.element.removeAttribute("aria-busy");
    this.element.querySelector(".dots")?.remove();
    this.state(note);
    if (!this.text && this.thoughts.hidden) this.element.remove();
  }
}
