// The chat: sending, stopping, asking again and editing, without the page being loaded anew.
import { say } from "../say.js";
import { showAll } from "../dates.js";
import { post } from "../csrf.js";
import { Answer, addCopyButtons, made } from "./answer.js";
import { follow } from "./follow.js";
import { choices } from "./choices.js";
import { pictures } from "./images.js";
import { sideList } from "./list.js";
import { ask } from "./stream.js";

const DRAFT = "claw-chat-edited";
const TITLE_AFTER_MS = [4000, 15000];
const chat = document.querySelector("[data-chat]");
const list = chat.querySelector("[data-said]");
const form = chat.querySelector("[data-composer]");
const text = form.querySelector("textarea");
const sendButton = form.querySelector("[data-send]");
const stopButton = form.querySelector("[data-stop]");
const images = pictures(form, say);
const side = sideList(chat);
const chosen = choices(form);
const csrf = document.body.dataset.csrf;
let running = null;

// --- what the page does while an answer comes ---
const isAtEnd = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 160;
const toEnd = () => scrollTo({ top: document.documentElement.scrollHeight });

function busy(is) {
  sendButton.hidden = is;
  stopButton.hidden = !is;
  list.setAttribute("aria-busy", String(is));
}

function begun() {
  list.querySelector("[data-hello]")?.remove();
  for (const failed of list.querySelectorAll(".failed")) failed.remove();
}

// From here on the page can be loaded anew without losing what was asked.
function loadable() {
  if ("new" in chat.dataset) history.replaceState(null, "", `${chat.dataset.address}?session=${chat.dataset.session}`);
}

// From here on there is something under this address.
function named() {
  if (!("new" in chat.dataset)) return;
  delete chat.dataset.new;
  history.replaceState(null, "", `${chat.dataset.address}/${chat.dataset.session}`);
}

function showTitle(title) {
  chat.querySelector("#chat-title").textContent = title;
  document.title = `${title} \u00b7 ɳClaw`;
  chat.querySelector("[data-menu]").hidden = false;
}

// A worker that was stopped says so in its own time, and a recorder writes it down in its.
async function stored(id, tries) {
  for (let number = 0; id && number < tries; number += 1) {
    if (number) await new Promise((resolve) => { setTimeout(resolve, 400 * number); });
    const turn = await storedNow(id);
    if (turn?.querySelector(".answer")) return turn;
  }
  return null;
}

async function storedNow(id) {
  const query = new URLSearchParams(Object.entries(chosen()).filter(([, value]) => value).map(([name, value]) => [name, String(value)]));
  const address = `${chat.dataset.address}/${chat.dataset.session}/turns/${id}?${query}`;
  const response = await fetch(address, { headers: { accept: "text/html" } }).catch(() => null);
  if (response?.status !== 200) return null;
  const holder = document.createElement("template");
  holder.innerHTML = await response.text();
  return holder.content.querySelector("[data-title]");
}

function takeOver(turn, question, answer) {
  named();
  showTitle(turn.dataset.title);
  // Only the newest answer can be asked for again.
  for (const old of list.querySelectorAll("[data-again]")) old.remove();
  const asked = turn.querySelector(".question");
  const answered = [...turn.querySelectorAll(".answer")].at(-1);
  if (asked && question) question.replaceWith(asked);
  answer.replaceBy(answered);
  addCopyButtons(list);
  showAll(list);
}

function shownQuestion(question) {
  const element = made("question");
  element.querySelector(".words").textContent = question.text;
  if (!question.text) element.querySelector(".words").remove();
  for (const url of question.images.toReversed()) {
    const picture = document.createElement("img");
    picture.className = "picture";
    picture.alt = "An image of the question";
    picture.src = url;
    element.querySelector(".bubble").prepend(picture);
  }
  return element;
}

function showFailure(why, tryAgain) {
  const failed = made("failed");
  failed.querySelector("[data-why]").textContent = why;
  failed.querySelector("[data-retry]").addEventListener("click", () => {
    failed.remove();
    tryAgain();
    text.focus({ preventScroll: true });
  });
  list.append(failed);
}

const lastQuestion = () => [...list.querySelectorAll(".question")].at(-1) ?? null;

const atEnd = (work) => {
  const wasAtEnd = isAtEnd();
  work();
  if (wasAtEnd) toEnd();
};

// `asked` is the question where it is shown already, `old` the answer that is to be replaced.
async function run(question, asked = null, old = null) {
  if (running) return;
  const mine = running = { connection: new AbortController(), id: null, wasStopped: false };
  begun();
  busy(true);
  let shown = asked;
  if (!shown) {
    shown = shownQuestion(question);
    list.append(shown);
  }
  old?.remove();
  const answer = new Answer(`${chat.dataset.address}/markdown`);
  list.append(answer.element);
  toEnd();
  let [failure, isLeft] = [null, false];
  answer.onShown = () => atEnd(() => {});
  const on = {
    begun: (id) => {
      mine.id = id;
      loadable();
      side.refresh();
    },
    text: (part) => {
      named();
      atEnd(() => answer.add(part));
    },
    thought: (part) => atEnd(() => answer.think(part)),
    served: (by) => answer.served(by),
    queued: (position, eta) => {
      const wait = eta ? `, about ${eta} s` : "";
      answer.state(position > 1 ? `Waiting: place ${position}${wait}` : `Next in the queue${wait}`);
    },
    failed: (why) => { failure = why; },
    left: () => { isLeft = true; },
  };
  const id = await ask(`${chat.dataset.address}/stream`, question, csrf, on, mine.connection.signal);
  if (isLeft && !await goOn(id, answer)) failure = "The connection to the gateway broke off.";
  await ended({ mine, id, question, asked: shown, answer, old, failure: mine.wasStopped ? null : failure });
}

// The server goes on whoever leaves: what it keeps of the answer is looked at once a second.
const goOn = (id, answer) => follow(`${chat.dataset.address}/${chat.dataset.session}/underway/${id}`, (html) => atEnd(() => answer.put(html)));

// `none` is said where nothing is stored and no failure is known.
async function ended({ mine, id, question, asked, answer, old = null, failure = null, none = null }) {
  const turn = await stored(id, answer.text || none ? 6 : Number(failure === null));
  if (!turn && !mine.wasStopped) failure ??= none;
  atEnd(() => turn && takeOver(turn, asked, answer));
  if (!turn) {
    await answer.end(mine.wasStopped ? "Stopped" : "Not stored");
    if (old && !answer.text) list.append(old);
  }
  if (failure !== null) {
    const [last, answered] = [lastQuestion(), [...list.querySelectorAll(".answer")].at(-1)];
    showFailure(failure, () => (turn || question.again ? run(questionOf({ again: true }), last, answered) : run(question, asked)));
  }
  running = null;
  busy(false);
  if (failure === null) say(mine.wasStopped ? "Stopped." : `Answer: ${answer.text.slice(0, 600)}`);
  text.focus({ preventScroll: true });
  side.refresh();
  for (const later of TITLE_AFTER_MS) setTimeout(side.refresh, later);
}

// An answer that was on its way when this page was loaded.
async function join(element) {
  const mine = running = { id: element.dataset.underway, wasStopped: false };
  busy(true);
  toEnd();
  const [asked, answer] = [lastQuestion(), new Answer(`${chat.dataset.address}/markdown`, element)];
  const wasTold = await goOn(mine.id, answer);
  const words = asked?.querySelector(".words")?.textContent ?? "";
  const question = questionOf({ text: words, images: [...asked?.querySelectorAll(".picture") ?? []].map((image) => image.src) });
  const none = wasTold ? "No answer came. The page of the request under Usage says why." : "The gateway cannot be reached.";
  await ended({ mine, id: mine.id, question, asked, answer, none });
}

async function stop() {
  if (!running || running.wasStopped) return;
  const mine = running;
  mine.wasStopped = true;
  if (mine.id === null) {
    mine.connection.abort();
    return;
  }
  const response = await post(`${chat.dataset.address}/${chat.dataset.session}/stop`).catch(() => null);
  if (response?.ok) return;
  mine.wasStopped = false;
  say("It could not be stopped. Try again.");
}

function questionOf(given) {
  return { session_id: chat.dataset.session, text: "", images: [], again: false, ...chosen(), ...given };
}

// --- sending ---
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const asked = text.value;
  if (running || (!asked.trim() && images.count === 0)) return;
  text.value = "";
  grow();
  run(questionOf({ text: asked, images: images.take() }));
});
stopButton.addEventListener("click", stop);
text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && running && !document.querySelector("details.menu[open]")) stop();
});

function grow() {
  if (CSS.supports("field-sizing", "content")) return;
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight}px`;
}
text.addEventListener("input", grow);
grow();

// --- again, and edited ---
list.addEventListener("submit", async (event) => {
  if (event.target.matches("[data-again]")) {
    event.preventDefault();
    if (running) return;
    run(questionOf({ again: true }), lastQuestion(), event.target.closest(".answer"));
  } else if (event.target.matches("[data-edit]")) {
    event.preventDefault();
    const edited = event.target.elements.text.value;
    if (!edited.trim()) return;
    const body = new URLSearchParams({ csrf, message_id: event.target.elements.message_id.value, before: "true" });
    const response = await fetch(`${chat.dataset.address}/${chat.dataset.session}/branch`, {
      method: "POST", body, headers: { accept: "application/json", "x-csrf-token": csrf },
    }).catch(() => null);
    const made = response?.ok ? await response.json() : null;
    if (!made) {
      delete event.target.dataset.sent;
      say("That did not work. Try again.");
      return;
    }
    sessionStorage.setItem(DRAFT, JSON.stringify({ id: made.id, text: edited }));
    location.assign(made.is_begun ? `${chat.dataset.address}/${made.id}` : `${chat.dataset.address}?session=${made.id}`);
  }
});
list.addEventListener("toggle", (event) => {
  if (event.target.matches("details.edit") && event.target.open) event.target.querySelector("textarea").focus();
}, true);

// --- the list of conversations where there is no room beside ---
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && location.hash === "#chats") location.hash = "#top";
});

addCopyButtons(list);
const edited = JSON.parse(sessionStorage.getItem(DRAFT) ?? "null");
if (edited?.id === chat.dataset.session) {
  sessionStorage.removeItem(DRAFT);
  run(questionOf({ text: edited.text }));
} else if (list.querySelector("[data-underway]")) {
  join(list.querySelector("[data-underway]"));
} else if (list.querySelector(".answer")) {
  toEnd();
}
