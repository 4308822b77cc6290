// The AI SDK with @ai-sdk/openai: responses, which are its default, chats and pictures.

import { createOpenAI } from "@ai-sdk/openai";
import { generateText } from "ai";
import { pictures, texts } from "./ai_calls.mjs";
import { serve, v1 } from "./calls.mjs";

const provider = (order) => createOpenAI({ baseURL: v1, apiKey: order.key });

await serve({
  ...texts("responses", (order) => provider(order)("gpt-4o-mini")),
  ...texts("chat", (order) => provider(order).chat("gpt-4o-mini")),
  async "image_generation/picture"(order) {
    const tools = { image_generation: provider(order).tools.imageGeneration({ model: "gpt-image-2" }) };
    const { staticToolResults } = await generateText({ model: provider(order)("gpt-4o-mini"), prompt: order.prompt, tools });
    return { pictures: staticToolResults.map(({ output }) => Buffer.from(output.result, "base64").length) };
  },

  ...pictures((order) => provider(order).image("gpt-image-2")),
});
