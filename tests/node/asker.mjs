// Asks the gateway through OpenAI's SDK for JavaScript, as told: one JSON request a line on stdin, one JSON report a
// line on stdout.
//
//   in   {"check": "whole" | "stream" | "fold" | "models" | "generate" | "edit", "options": {…of the client},
//         "fields": {…of the request; files are {"base64": …, "name": …}}, "headers": {…}}
//   out  {"ok": true, …what the SDK made of the answer} or {"ok": false, "error": {…what it threw}}

import { createInterface } from "node:readline";
import OpenAI, { toFile } from "openai";

const checks = {
  async whole(client, fields, options) {
    const { data, request_id: requestId } = await client.chat.completions.create(fields, options).withResponse();
    return { completion: data, requestId };
  },

  async stream(client, fields, options) {
    const chunks = [];
    try {
      for await (const chunk of await client.chat.completions.create({ ...fields, stream: true }, options)) {
        chunks.push(chunk);
      }
    } catch (error) {
      error.chunks = chunks;
      throw error;
    }
    return { chunks };
  },

  async fold(client, fields, options) {
    const events = {};
    const runner = client.chat.completions.stream(fields, options);
    runner.on("content.delta", () => (events.deltas = (events.deltas ?? 0) + 1));
    return { completion: await runner.finalChatCompletion(), events };
  },

  async models(client) {
    const names = [];
    for await (const model of client.models.list()) {
      names.push(model.id);
    }
    return { names };
  },

  async generate(client, fields, options) {
    return told(await client.images.generate(fields, options));
  },

  async edit(client, fields, options) {
    return told(await client.images.edit(await withFiles(fields), options));
  },
};

// An answer, or the events of a stream.
async function told(answer) {
  if (!(Symbol.asyncIterator in answer)) {
    return { answer };
  }
  const events = [];
  for await (const event of answer) {
    events.push(event);
  }
  return { events };
}

async function withFiles(value) {
  if (Array.isArray(value)) {
    return Promise.all(value.map(withFiles));
  }
  if (typeof value !== "object" || value === null) {
    return value;
  }
  if ("base64" in value) {
    return toFile(Buffer.from(value.base64, "base64"), value.name, { type: "image/png" });
  }
  const entries = Object.entries(value).map(async ([name, member]) => [name, await withFiles(member)]);
  return Object.fromEntries(await Promise.all(entries));
}

function described(error) {
  const { name, status, type, code, param, message, requestID, chunks } = error;
  const headers = error.headers ? Object.fromEntries(error.headers.entries()) : {};
  const kinds = Object.keys(OpenAI).filter((kind) => typeof OpenAI[kind] === "function" && error.constructor === OpenAI[kind]);
  return { name, kind: kinds[0] ?? error.constructor.name, status, type, code, param, message, requestID, headers, chunks };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { check, options, fields, headers } = JSON.parse(line);
  let report;
  try {
    const client = new OpenAI({ maxRetries: 0, timeout: 20_000, ...options });
    report = { ok: true, ...(await checks[check](client, fields, { headers })) };
  } catch (error) {
    report = { ok: false, error: described(error) };
  }
  process.stdout.write(JSON.stringify(report) + "\n");
}
