// Makes the calls that it is told to, as calls.py does: one order a line on stdin, one JSON line of report on stdout.

import { createInterface } from "node:readline";

export const baseURL = process.env.BASE_URL;
export const v1 = `${baseURL}/v1`;
export const weather = (city) => `21 degrees in ${city}`;

const print = process.stdout.write.bind(process.stdout);
// What a client prints itself goes to stderr.
console.log = console.info = console.warn = (...words) => console.error(...words);

// calls: name → async function of the order that returns what was seen.
export async function serve(calls) {
  process.on("unhandledRejection", (error) => console.error("unhandled:", error));
  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    let report;
    try {
      report = { ok: true, seen: await calls[order.call](order) };
    } catch (error) {
      console.error(error);
      const status = error?.status ?? error?.statusCode ?? error?.lastError?.statusCode ?? null;
      report = { ok: false, seen: { error: error?.name ?? typeof error, text: String(error?.message ?? error), status } };
    }
    print(JSON.stringify({ call: order.call, ...report }) + "\n");
  }
  process.exit(0);
}
