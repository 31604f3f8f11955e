import OpenAI from "openai";

const client = new OpenAI({
  baseURL: "https://your-server.example.com/v1",
  apiKey: "sk-nself-your-key-here",
  maxRetries: 0,
});
const tools = [{ type: "function", name: "weather", strict: false, parameters: { type: "object", properties: {} } }];
const asked = { model: "auto", input: "Hello" };

const whole = await client.responses.create(asked);
console.log(whole.status, whole.output_text, whole.usage.output_tokens);

let said = "";
for await (const event of await client.responses.create({ ...asked, stream: true })) {
  if (event.type === "response.output_text.delta") said += event.delta;
  if (event.type === "response.completed") console.log(event.type, said);
}

const called = await client.responses.create({ ...asked, tools });
const call = called.output[0];
console.log(call.type, call.name, call.arguments);
const result = { type: "function_call_output", call_id: call.call_id, output: "sun" };
const answered = await client.responses.create({ ...asked, input: [...called.output, result], tools });
console.log(answered.output_text);

try {
  await client.responses.create({ ...asked, temperature: 9 });
} catch (error) {
  console.log(error.constructor.name, error.code, error.param);
}

const left = await client.responses.create({ ...asked, stream: true });
for await (const event of left) {
  if (event.type === "response.output_text.delta") break;
}
console.log("left");
