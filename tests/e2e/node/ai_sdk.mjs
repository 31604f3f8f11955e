import { createOpenAI } from "@ai-sdk/openai";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const openai = createOpenAI({
  baseURL: "https://your-server.example.com/v1",
  apiKey: "sk-nself-your-key-here",
});
const model = openai("auto");
const quiet = { model, maxRetries: 0, onError: () => {} };

const whole = await generateText({ ...quiet, prompt: "Hello", system: "Be kind." });
console.log(whole.finishReason, whole.text, whole.usage.outputTokens);

const streamed = streamText({ ...quiet, prompt: "Hello" });
let said = "";
for await (const piece of streamed.textStream) said += piece;
console.log(await streamed.finishReason, said);

const weather = tool({
  description: "Tells the weather.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `sun over ${city}`,
});
const called = streamText({ ...quiet, prompt: "Weather?", tools: { weather }, stopWhen: stepCountIs(3) });
console.log(await called.text, (await called.steps).length);

try {
  await generateText({ ...quiet, prompt: "Hello", temperature: 9 });
} catch (error) {
  console.log(error.constructor.name, error.statusCode, error.data?.error.param);
}

const broken = streamText({ ...quiet, prompt: "Hello" });
for await (const part of broken.fullStream) {
  if (part.type === "error") console.log("broken", part.error.message ?? part.error.error?.message ?? part.error);
}

const stop = new AbortController();
const left = streamText({ ...quiet, prompt: "Hello", abortSignal: stop.signal });
for await (const part of left.fullStream) {
  if (part.type === "text-delta") stop.abort();
}
console.log("left");
