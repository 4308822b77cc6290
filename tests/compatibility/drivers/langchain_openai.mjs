// LangChain's ChatOpenAI for JavaScript, over chats and over responses.

import { HumanMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI } from "@langchain/openai";
import { z } from "zod";
import { serve, v1, weather } from "./calls.mjs";

const get_weather = tool(async () => weather("Rome"), {
  name: "get_weather",
  description: "The weather in a city",
  schema: z.object({ city: z.string() }),
});

function texts(api) {
  const model = (order) =>
    new ChatOpenAI({
      model: "gpt-4o-mini",
      apiKey: order.key,
      configuration: { baseURL: v1 },
      useResponsesApi: api === "responses",
    });
  return {
    async [`${api}/whole`](order) {
      return { text: (await model(order).invoke(order.prompt)).text };
    },

    async [`${api}/stream`](order) {
      const pieces = [];
      for await (const chunk of await model(order).stream(order.prompt)) {
        if (chunk.text) pieces.push(chunk.text);
      }
      return { text: pieces.join(""), pieces: pieces.length };
    },

    async [`${api}/tools`](order) {
      const able = model(order).bindTools([get_weather]);
      const messages = [new HumanMessage(order.prompt)];
      const used = [];
      for (;;) {
        const answer = await able.invoke(messages);
        if (!answer.tool_calls?.length) return { text: answer.text, tools: used };
        messages.push(answer);
        for (const call of answer.tool_calls) {
          used.push(call.name);
          messages.push(await get_weather.invoke(call));
        }
      }
    },
  };
}

await serve({ ...texts("chat"), ...texts("responses") });
