// Times as the viewer's zone and language have them. The server writes UTC, for who has no script.
const FORMS = {
  full: new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" }),
  short: new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" }),
  day: new Intl.DateTimeFormat(undefined, { dateStyle: "medium" }),
  clock: new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 }),
};
const RELATIVE = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const UNITS = [["year", 31536000], ["month", 2592000], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];

function ago(moment) {
  const seconds = (moment - Date.now()) / 1000;
  for (const [unit, size] of UNITS) {
    if (Math.abs(seconds) >= size) return RELATIVE.format(Math.round(seconds / size), unit);
  }
  return RELATIVE.format(Math.round(seconds), "second");
}

export function show(element) {
  const moment = new Date(element.dateTime);
  if (Number.isNaN(moment.getTime())) return;
  const form = element.dataset.form;
  element.textContent = form === "ago" ? ago(moment) : (FORMS[form] ?? FORMS.full).format(moment);
  element.title = FORMS.full.format(moment);
}

export function showAll(root = document) {
  for (const element of root.querySelectorAll("time[datetime]")) show(element);
}

showAll();
setInterval(() => {
  for (const element of document.querySelectorAll('time[data-form="ago"]')) show(element);
}, 15000);
