// Send something to the server as a page of this session.
export function post(address, body = undefined) {
  const headers = { "x-csrf-token": document.body.dataset.csrf, accept: "application/json" };
  if (body !== undefined && !(body instanceof URLSearchParams) && !(body instanceof FormData)) {
    headers["content-type"] = "application/json";
    body = JSON.stringify(body);
  }
  return fetch(address, { method: "POST", headers, body, credentials: "same-origin" });
}
