// The AI SDK with @ai-sdk/openai-compatible: chats and pictures.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { pictures, texts } from "./ai_calls.mjs";
import { serve, v1 } from "./calls.mjs";

const provider = (order) => createOpenAICompatible({ name: "piapi", baseURL: v1, apiKey: order.key });

await serve({
  ...texts("chat", (order) => provider(order).chatModel("gpt-4o-mini")),
  ...pictures((order) => provider(order).imageModel("gpt-image-2")),
});
