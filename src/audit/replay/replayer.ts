import { DefaultLogger, Runtime, Worker } from "@temporalio/worker";
import type { ReplayResult } from "@temporalio/worker";

import type { Json } from "../../core/json.ts";
import type { Scheduled } from "./history-events.ts";

/** What workflow code did with a history: the activities that it asked for, and where it did not fit the history, why. */
export type Replayed = { readonly scheduled: readonly Scheduled[]; readonly problem: string | undefined };

/** Executes workflow code on histories, one after the other: a worker of Temporal's costs more to start than a history to replay. */
export type Replayer = {
  replay(run: string, history: Json): Promise<Replayed>;
  close(): Promise<void>;
};

export function createReplayer(code: string): Replayer {
  quietRuntime();
  let session: Session | undefined;
  let last: Promise<unknown> = Promise.resolve();
  async function one(run: string, history: Json): Promise<Replayed> {
    session ??= openSession(code);
    try {
      return await session.replay(run, history);
    } catch (error) {
      // What is not even a history ends the worker: the next one gets another.
      session = undefined;
      return { scheduled: [], problem: messageOf(error) };
    }
  }
  return {
    replay(run, history) {
      const next = last.then(() => one(run, history));
      last = next;
      return next;
    },
    async close() {
      await last;
      await session?.close();
      session = undefined;
    },
  };
}

type Session = {
  replay(run: string, history: Json): Promise<Replayed>;
  close(): Promise<void>;
};

function openSession(code: string): Session {
  let scheduled: Scheduled[] = [];
  const histories = channel<{ workflowId: string; history: Json }>();
  const results = Worker.runReplayHistories(
    {
      workflowBundle: { code },
      sinks: {
        replay: {
          scheduled: {
            fn: (_, activityType: string, args: Json[]) => void scheduled.push({ activityType, args }),
            callDuringReplay: true,
          },
        },
      },
    },
    histories.items as AsyncIterable<never>,
  );
  return {
    async replay(run, history) {
      scheduled = [];
      histories.push({ workflowId: run, history });
      const { value, done } = (await results.next()) as IteratorResult<ReplayResult, undefined>;
      if (done === true) throw new Error("the replay worker stopped");
      return { scheduled, problem: value.error === undefined ? undefined : messageOf(value.error) };
    },
    async close() {
      histories.end();
      await results.next();
    },
  };
}

/** An iterable that is fed from outside. */
function channel<Item>() {
  const waiting: (Item | undefined)[] = [];
  let wake = (): void => undefined;
  const put = (item: Item | undefined): void => {
    waiting.push(item);
    wake();
  };
  async function* items(): AsyncGenerator<Item> {
    for (;;) {
      if (waiting.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      const item = waiting.shift();
      if (item === undefined) return;
      yield item;
    }
  }
  return { items: items(), push: (item: Item) => put(item), end: () => put(undefined) };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message.split("\n")[0]}` : "replay failed";
}

let quiet = false;

/** Temporal prints a replay's failure as well as throwing it. Once per process, and only where no worker has set it up. */
function quietRuntime(): void {
  if (quiet) return;
  quiet = true;
  try {
    Runtime.install({
      logger: new DefaultLogger("ERROR", () => undefined),
      telemetryOptions: { logging: { filter: "off", console: {} } },
      shutdownSignals: [],
    });
  } catch {
    // A worker of this process has its logger in place.
  }
}
