import pg from "pg";

import type { RunId } from "../core/ids.ts";
import type { Pool, Tx } from "./database.ts";

const channel = "countersign_watch";
/** Postgres limits a notification to 8,000 bytes; a character may take six of them in JSON, and there is some around the text. */
const maxDeltaChars = 1_200;
/** How long a watcher's interest lasts without being renewed. */
export const watchLeaseMs = 15_000;

/** A piece of a model's answer on its way to whoever watches. It is never stored: the answer is, when it is whole. */
export type WatchDelta = { readonly run: RunId; readonly seq: number; readonly text: string };

/** Tells the workers that somebody watches `run` for the next 15 seconds, so that its tokens are published. */
export async function renewWatch(tx: Tx, run: RunId, now: Date): Promise<void> {
  await tx.query("update run set watched_until = $2 where id = $1 and closed_at is null", [
    run,
    new Date(now.getTime() + watchLeaseMs),
  ]);
}

export async function publishDelta(pool: Pool, delta: WatchDelta): Promise<void> {
  for (let start = 0; start < delta.text.length; start += maxDeltaChars) {
    await pool.query("select pg_notify($1, $2)", [
      channel,
      JSON.stringify({ ...delta, text: delta.text.slice(start, start + maxDeltaChars) }),
    ]);
  }
}

/** Listens on a connection of its own. `stop` closes it; `onLost` is called where it ends otherwise. */
export async function listenForDeltas(
  url: string,
  onDelta: (delta: WatchDelta) => void,
  onLost: () => void = () => undefined,
): Promise<{ stop(): Promise<void> }> {
  const client = new pg.Client({ connectionString: url, application_name: "countersign watch" });
  client.on("error", () => undefined);
  client.on("end", onLost);
  client.on("notification", (message) => {
    const delta = message.channel === channel ? deltaOf(message.payload) : undefined;
    if (delta !== undefined) onDelta(delta);
  });
  await client.connect();
  await client.query(`listen ${channel}`);
  return { stop: () => client.end() };
}

/** Whoever may connect to the database may notify, with anything. */
function deltaOf(payload: string | undefined): WatchDelta | undefined {
  try {
    const { run, seq, text } = JSON.parse(payload ?? "") as Partial<Record<keyof WatchDelta, unknown>>;
    if (typeof run !== "string" || !Number.isSafeInteger(seq) || typeof text !== "string") return undefined;
    return { run: run as RunId, seq: seq as number, text };
  } catch {
    return undefined;
  }
}
