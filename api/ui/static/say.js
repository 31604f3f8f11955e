// Say something to who does not see it happen.
export function say(text) {
  const place = document.getElementById("announcer");
  if (place) place.textContent = text;
}
