// Who shall answer, and what is put before the question: kept in this browser, and in the forms of messages.
const KEPT = "claw-chat-choices";
const valueOf = (field) => (field.type === "checkbox" ? field.checked : field.value);

// Returns what tells the present choices.
export function choices(form) {
  const fields = [...form.querySelectorAll("[data-choice]")];
  const chosen = () => Object.fromEntries(fields.map((field) => [field.name, valueOf(field)]));

  function showChosen() {
    const set = chosen();
    const named = [set.tier, set.app && "expert", set.knowledge && "knowledge", set.admin && "admin"].filter(Boolean);
    const label = form.querySelector("[data-options-label]");
    label.textContent = named.length ? named.join(", ") : "Options";
    label.classList.toggle("usual", named.length === 0);
    label.ariaHidden = String(named.length === 0);
  }

  function restoreChoices() {
    if (new URLSearchParams(location.search).has("model")) return;
    let kept = {};
    try {
      kept = JSON.parse(localStorage.getItem(KEPT)) ?? {};
    } catch {
      // Storage may be forbidden.
    }
    for (const field of fields) {
      if (!(field.name in kept)) continue;
      if (field.type === "checkbox") field.checked = kept[field.name] === true;
      else if ([...field.options].some((option) => option.value === kept[field.name])) field.value = kept[field.name];
    }
  }

  restoreChoices();
  showChosen();
  for (const field of fields) {
    field.addEventListener("change", () => {
      showChosen();
      try {
        localStorage.setItem(KEPT, JSON.stringify(chosen()));
      } catch {
        // As above.
      }
    });
  }
  return chosen;
}
