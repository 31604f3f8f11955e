// The side list: found as one types, and anew when a conversation has a new title.
import { showAll } from "../dates.js";

export function sideList(chat) {
  const place = chat.querySelector("[data-list]");
  const form = chat.querySelector("[data-find]");
  const input = form.querySelector("input");
  let asked = 0;

  async function refresh() {
    const mine = ++asked;
    const query = new URLSearchParams({ q: input.value, current: chat.dataset.session });
    if (new URLSearchParams(location.search).get("archived") === "true") query.set("archived", "true");
    try {
      const response = await fetch(`${chat.dataset.address}/list?${query}`, { headers: { accept: "text/html" } });
      if (!response.ok || mine !== asked) return;
      place.innerHTML = await response.text();
      showAll(place);
    } catch {
      // It stays as it was.
    }
  }

  let timer;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(refresh, 200);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    refresh();
  });
  return { refresh };
}
