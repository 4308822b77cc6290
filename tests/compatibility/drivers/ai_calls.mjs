// What the AI SDK is asked for, whichever provider leads it to the gateway.

import { generateImage, generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";
import { weather } from "./calls.mjs";

const get_weather = tool({
  description: "The weather in a city",
  inputSchema: z.object({ city: z.string() }),
  execute: async () => weather("Rome"),
});

// modelOf: order → a language model.
export function texts(api, modelOf) {
  return {
    async [`${api}/whole`](order) {
      const { text } = await generateText({ model: modelOf(order), prompt: order.prompt });
      return { text };
    },

    async [`${api}/stream`](order) {
      const pieces = [];
      const running = streamText({ model: modelOf(order), prompt: order.prompt, onError() {} });
      for await (const part of running.fullStream) {
        if (part.type === "text-delta") pieces.push(part.text);
        if (part.type === "error") throw part.error;
      }
      return { text: pieces.join(""), pieces: pieces.length };
    },

    async [`${api}/tools`](order) {
      const { text, steps } = await generateText({
        model: modelOf(order), prompt: order.prompt, tools: { get_weather }, stopWhen: isStepCount(5),
      });
      return { text, tools: steps.flatMap((step) => step.toolCalls.map((call) => call.toolName)) };
    },
  };
}

// modelOf: order → a model of images.
export function pictures(modelOf) {
  return {
    async "images/picture"(order) {
      const { images } = await generateImage({ model: modelOf(order), prompt: order.prompt });
      return { pictures: images.map((image) => image.uint8Array.length) };
    },

    async "images/edit"(order) {
      const { image } = await generateImage({ model: modelOf(order), prompt: order.prompt });
      const { images } = await generateImage({
        model: modelOf(order), prompt: { text: "add a boat", images: [image.uint8Array] },
      });
      return { pictures: images.map((image) => image.uint8Array.length) };
    },
  };
}
