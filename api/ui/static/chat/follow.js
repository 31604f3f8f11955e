// An answer that comes without a connection of this page: after it was loaded anew, or the connection broke off.
const EVERY_MS = 1000;
const MOST_MISSES = 60;

// Resolves to true once it comes no more, to false where that cannot be told; `show` gets how far it is as HTML.
export async function follow(address, show) {
  for (let misses = 0; misses < MOST_MISSES;) {
    const response = await fetch(address, { headers: { accept: "text/html" } }).catch(() => null);
    if (response?.status === 204) return true;
    if (response?.status === 200) {
      misses = 0;
      show(await response.text());
    } else {
      misses += 1;
    }
    await new Promise((resolve) => { setTimeout(resolve, EVERY_MS); });
  }
  return false;
}
