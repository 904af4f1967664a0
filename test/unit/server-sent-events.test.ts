import { once } from "node:events";

import fastify from "fastify";
import type { FastifyReply } from "fastify";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import type { Services } from "../../src/server/dependencies.ts";
import { sendEvents } from "../../src/server/server-sent-events.ts";
import type { Send } from "../../src/server/server-sent-events.ts";

type Event = { readonly type: string; readonly n: number; readonly text: string };
const event = (n: number): Event => ({ type: "step", n, text: "x".repeat(300_000) });

/** A server with one stream, and what its producer met. */
async function serve(
  produce: (send: Send<Event>, signal: AbortSignal) => Promise<void>,
  before: (reply: FastifyReply) => Promise<unknown> = async () => undefined,
) {
  const services = {
    streams: new Set(),
    stopping: new AbortController().signal,
    logger: pino({ level: "silent" }),
  } as unknown as Services;
  const app = fastify();
  const ended = Promise.withResolvers<void>();
  const done = Promise.withResolvers<void>();
  app.get("/events", async (request, reply) => {
    await before(reply);
    await sendEvents<Event>(services, request, reply, async (send, signal) => {
      await produce(send, signal).finally(ended.resolve);
    });
    done.resolve();
  });
  const address = await app.listen({ host: "127.0.0.1", port: 0 });
  onTestFinished(() => app.close());
  return { url: `${address}/events`, ended: ended.promise, done: done.promise, services };
}

test("more than a reader's backlog may hold arrives whole, since the producer waits for it", async () => {
  const { url } = await serve(async (send) => {
    for (let n = 0; n < 40; n += 1) await send(event(n));
  });
  const text = await (await fetch(url)).text();
  expect([...text.matchAll(/"n":(\d+)/g)].map(([, n]) => Number(n))).toEqual([...Array(40).keys()]);
});

test("a reader who takes nothing is let go, and its stream ends", async () => {
  let sent = 0;
  const { url, ended, services } = await serve(async (send, signal) => {
    for (; !signal.aborted && sent < 1_000; sent += 1) {
      void send(event(sent));
      await new Promise(setImmediate);
    }
  });
  const answer = await fetch(url);
  await ended;
  expect(sent).toBeLessThan(1_000);
  await expect.poll(() => services.streams.size).toBe(0);
  await expect(answer.text()).rejects.toThrow("terminated");
});

test("a caller who was gone before the first event is not waited for", async () => {
  let isAborted: boolean | undefined;
  const { url, done, services } = await serve(
    async (send, signal) => {
      isAborted = signal.aborted;
      await send(event(0));
    },
    async ({ raw }) => {
      raw.socket?.destroy();
      await once(raw, "close");
    },
  );
  await expect(fetch(url)).rejects.toThrow("fetch failed");
  await done;
  expect({ isAborted, left: services.streams.size }).toEqual({ isAborted: true, left: 0 });
});
