// Ask the server, and tell what comes: text, thoughts, the place in the queue, who answers, an error.
const NAMED = /^x-nself-(tier|model|attempts)$/;

function tell(line, on) {
  if (line.startsWith(": queued ")) {
    const place = Object.fromEntries(line.slice(9).split(" ").map((part) => part.split("=")));
    on.queued?.(Number(place.position), place.eta_s === undefined ? null : Number(place.eta_s));
  } else if (line.startsWith(": x-nself-")) {
    const named = {};
    for (const part of line.slice(2).split("; ")) {
      const at = part.indexOf("=");
      const found = NAMED.exec(part.slice(0, at));
      if (found) named[found[1]] = part.slice(at + 1);
    }
    on.served?.(named);
  } else if (line.startsWith("data: ") && line !== "data: [DONE]") {
    const chunk = JSON.parse(line.slice(6));
    if (chunk.error) on.failed?.(chunk.error.message);
    const delta = chunk.choices?.[0]?.delta;
    if (delta?.reasoning_content) on.thought?.(delta.reasoning_content);
    if (delta?.content || delta?.refusal) on.text?.(delta.content ?? delta.refusal);
  }
}

// Resolves when the answer has ended, however; `on.failed` was called where it failed. Where only the connection has
// ended the answer goes on without it, and `on.left` was called.
export async function ask(address, question, csrf, on, signal) {
  let response;
  try {
    response = await fetch(address, {
      method: "POST", credentials: "same-origin", signal, body: JSON.stringify(question),
      headers: { "content-type": "application/json", accept: "application/json", "x-csrf-token": csrf },
    });
  } catch (error) {
    if (error.name !== "AbortError") on.failed("The gateway cannot be reached. Is it running, and are you online?");
    return null;
  }
  const id = response.headers.get("x-request-id");
  if (response.ok) on.begun?.(id);
  if (!response.ok) {
    const said = await response.json().catch(() => ({}));
    on.failed(said.error ?? `The gateway answered with ${response.status}.`, Number(response.headers.get("retry-after")) || 0);
    return id;
  }
  if (response.headers.get("x-nself-model")) {
    on.served?.({ tier: response.headers.get("x-nself-tier"), model: response.headers.get("x-nself-model") });
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let isWhole = false;
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        isWhole ||= line === "data: [DONE]" || line.startsWith('data: {"error"');
        if (line) tell(line, on);
      }
    }
    if (!isWhole) on.left();
  } catch {
    on.left();
  }
  return id;
}
