// Fields for a time are in the viewer's zone; the server knows UTC alone, and says so to who has no script.
const ZONE = new Intl.DateTimeFormat(undefined, { timeZoneName: "long" }).formatToParts().find((part) => part.type === "timeZoneName").value;
const two = (number) => String(number).padStart(2, "0");

function local(moment) {
  return `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}T${two(moment.getHours())}:${two(moment.getMinutes())}`;
}

for (const field of document.querySelectorAll("input[data-utc]")) {
  const given = new Date(`${field.value}Z`);
  if (!Number.isNaN(given.getTime())) field.value = field.defaultValue = local(given);
  field.form.addEventListener("formdata", (event) => {
    const chosen = new Date(field.value);
    if (field.offsetParent === null) event.formData.delete(field.name);
    else if (!Number.isNaN(chosen.getTime())) event.formData.set(field.name, chosen.toISOString().replace(/:00\.000Z$/, "Z"));
  });
}
for (const place of document.querySelectorAll("[data-zone]")) {
  if (place.matches(".optional")) place.remove();
  else place.textContent = `In your time zone: ${ZONE}.`;
}
