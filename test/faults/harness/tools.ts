import { createServer } from "node:http";
import type { IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

import type { JsonObject } from "../../../src/core/json.ts";
import { refOf } from "./prompts.ts";

/** What the record said of a call at the moment it came. `unseen`: Postgres was away. */
export type Seen = "yes" | "no" | "unseen";

/** A call, as the tool knows it. */
export type ToolCall = {
  readonly tool: "look" | "pay" | "shout";
  readonly key: string;
  readonly args: JsonObject;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Whether it did something: not where a call with its key had. */
  readonly effect: boolean;
  /** Whether its intent was committed, and the approval of its action consumed (where it has one), before it came. */
  readonly intended: Seen;
  readonly granted: Seen;
};

export type Witnessed = Pick<ToolCall, "intended" | "granted">;

export type Tools = {
  readonly url: string;
  /** The calls to `/WORLD/…`, and who looks into its record when one comes. */
  open(world: string, look: (key: string) => Promise<Witnessed>): readonly ToolCall[];
  stop(): Promise<void>;
};

/** Long enough for a fault to come in between. */
const workMs = 60;

type World = {
  readonly calls: ToolCall[];
  readonly done: Set<string>;
  readonly look: (key: string) => Promise<Witnessed>;
};

/** Services that outlive every fault, and count what is really done: `pay` honours its key, `shout` knows none. */
export async function startTools(): Promise<Tools> {
  const worlds = new Map<string, World>();
  const server = createServer((request, response) => {
    answer(worlds, request).then(
      (value) => {
        // As a service that dies after it has done its work.
        if (value === undefined) return response.destroy();
        return response.setHeader("content-type", "application/json").end(JSON.stringify(value));
      },
      () => response.destroy(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    open(name, look) {
      const world: World = { calls: [], done: new Set(), look };
      worlds.set(name, world);
      return world.calls;
    },
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function answer(worlds: ReadonlyMap<string, World>, request: IncomingMessage): Promise<JsonObject | undefined> {
  const at = Date.now();
  const url = new URL(request.url ?? "/", "http://tools");
  const [, name = "", tool] = url.pathname.split("/");
  const world = worlds.get(name);
  const key = request.headers["idempotency-key"];
  if (world === undefined || typeof key !== "string" || (tool !== "look" && tool !== "pay" && tool !== "shout"))
    throw new Error("no such tool");
  const args = tool === "look" ? Object.fromEntries(url.searchParams) : ((await bodyOf(request)) as JsonObject);
  const witnessed = await world.look(key);
  const effect = tool === "shout" || (tool === "pay" && !world.done.has(key));
  world.done.add(key);
  world.calls.push({ tool, key, args, at, effect, ...witnessed });
  await sleep(workMs);
  return tool === "shout" && refOf(args).startsWith("broken-") ? undefined : { ok: true };
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return JSON.parse(text);
}
