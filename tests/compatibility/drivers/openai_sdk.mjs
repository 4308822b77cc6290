// OpenAI's SDK for JavaScript, old and new: chats, responses, pictures.

import OpenAI, { toFile } from "openai";
import { serve, v1, weather } from "./calls.mjs";

const model = "gpt-4o-mini";
const about = {
  name: "get_weather",
  description: "The weather in a city",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false },
};
const client = (order) => new OpenAI({ baseURL: v1, apiKey: order.key, timeout: 30_000 });
const asked = (order) => [{ role: "user", content: order.prompt }];

function size(picture) {
  const data = Buffer.from(picture, "base64");
  if (data.subarray(1, 4).toString() !== "PNG") throw new Error("no PNG");
  return data.length;
}

await serve({
  async "chat/whole"(order) {
    const answer = await client(order).chat.completions.create({ model, messages: asked(order) });
    return { text: answer.choices[0].message.content };
  },

  async "chat/stream"(order) {
    const pieces = [];
    const stream = await client(order).chat.completions.create({ model, messages: asked(order), stream: true });
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta.content) pieces.push(chunk.choices[0].delta.content);
    }
    return { text: pieces.join(""), pieces: pieces.length };
  },

  async "chat/tools"(order) {
    const used = [];
    const get_weather = ({ city }) => (used.push("get_weather"), weather("Rome", city));
    const completions = client(order).chat.completions.runTools ? client(order).chat.completions : client(order).beta.chat.completions;
    const runner = completions.runTools({
      model,
      messages: asked(order),
      tools: [{ type: "function", function: { ...about, function: get_weather, parse: JSON.parse } }],
    });
    return { text: await runner.finalContent(), tools: used };
  },

  async "responses/whole"(order) {
    const answer = await client(order).responses.create({ model, input: order.prompt });
    return { text: answer.output_text };
  },

  async "responses/stream"(order) {
    const pieces = [];
    const stream = client(order).responses.stream({ model, input: order.prompt });
    for await (const event of stream) {
      if (event.type === "response.output_text.delta") pieces.push(event.delta);
      if (event.type === "response.failed") throw new Error(event.response.error.message);
    }
    const [message] = (await stream.finalResponse()).output; // its output_text is missing in version 4
    if (message.content[0].text !== pieces.join("")) throw new Error("the deltas are not the text");
    return { text: message.content[0].text, pieces: pieces.length };
  },

  async "responses/tools"(order) {
    const used = [];
    const tools = [{ type: "function", strict: true, ...about }];
    let answer = await client(order).responses.create({ model, input: order.prompt, tools });
    for (;;) {
      const calls = answer.output.filter((item) => item.type === "function_call");
      if (!calls.length) return { text: answer.output_text, tools: used };
      used.push(...calls.map((call) => call.name));
      const input = calls.map((call) => ({ type: "function_call_output", call_id: call.call_id, output: weather("Rome") }));
      answer = await client(order).responses.create({ model, input, tools, previous_response_id: answer.id });
    }
  },

  async "image_generation/picture"(order) {
    const tools = [{ type: "image_generation", model: "gpt-image-2" }];
    const answer = await client(order).responses.create({ model, input: order.prompt, tools });
    const pictures = answer.output.filter((item) => item.type === "image_generation_call");
    return { pictures: pictures.map((item) => size(item.result)) };
  },

  async "images/picture"(order) {
    const answer = await client(order).images.generate({ model: "gpt-image-2", prompt: order.prompt });
    return { pictures: answer.data.map((picture) => size(picture.b64_json)) };
  },

  async "images/edit"(order) {
    const made = await client(order).images.generate({ model: "gpt-image-2", prompt: order.prompt });
    const image = await toFile(Buffer.from(made.data[0].b64_json, "base64"), "lighthouse.png", { type: "image/png" });
    const answer = await client(order).images.edit({ model: "gpt-image-2", image, prompt: "add a boat" });
    return { pictures: answer.data.map((picture) => size(picture.b64_json)) };
  },
});
