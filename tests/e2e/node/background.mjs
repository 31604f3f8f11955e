import OpenAI from "openai";
import { createInterface } from "node:readline";

const client = new OpenAI({
  baseURL: "https://your-server.example.com/v1",
  apiKey: "sk-nself-your-key-here",
  maxRetries: 0,
});
const told = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const asked = { model: "numbered", input: "one" };

const first = await client.responses.create(asked);
console.log(first.status);
await told.next();
const left = await client.responses.create({ ...asked, background: true });
console.log(left.status);
await told.next();

const second = await client.responses.create({ ...asked, input: "two", previous_response_id: first.id });
console.log(second.status, second.previous_response_id === first.id);
let seen = await client.responses.retrieve(left.id);
while (["queued", "in_progress"].includes(seen.status)) {
  await new Promise((resolve) => setTimeout(resolve, 50));
  seen = await client.responses.retrieve(left.id);
}
console.log(seen.status, seen.output_text === first.output_text);
const numbers = [];
let last;
for await (const event of await client.responses.retrieve(left.id, { stream: true, starting_after: 2 })) {
  numbers.push(event.sequence_number);
  last = event;
}
console.log(numbers[0], last.type, last.response.output[0].content[0].text === first.output_text);
const items = [];
for await (const item of client.responses.inputItems.list(second.id, { order: "asc" })) items.push(item.type);
console.log(items.join(" "));
process.exit();
