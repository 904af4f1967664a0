import type { RunId } from "../core/ids.ts";
import { listenForDeltas } from "../store/index.ts";
import type { WatchDelta } from "../store/index.ts";

type Listener = (delta: WatchDelta) => void;

/** Hands the pieces of answers that workers publish to whoever watches the run. */
export type DeltaHub = {
  /** Returns the end of the subscription. */
  subscribe(run: RunId, listener: Listener): () => void;
  stop(): Promise<void>;
};

/** One connection for all watchers, opened with the first of them. */
export function createDeltaHub(databaseUrl: string, onError: (error: unknown) => void): DeltaHub {
  const listeners = new Map<RunId, Set<Listener>>();
  let connection: ReturnType<typeof listenForDeltas> | undefined;

  function connect(): void {
    if (connection !== undefined) return;
    const opened = listenForDeltas(databaseUrl, hear, () => {
      // Postgres was restarted, say.
      if (connection === opened) connection = undefined;
    });
    connection = opened;
    // Watchers go without tokens then: all else of a run is polled. The next one tries again.
    opened.catch((error: unknown) => {
      if (connection === opened) connection = undefined;
      onError(error);
    });
  }

  function hear(delta: WatchDelta): void {
    for (const listener of listeners.get(delta.run) ?? []) listener(delta);
  }

  return {
    subscribe(run, listener) {
      connect();
      const others = listeners.get(run) ?? new Set();
      listeners.set(run, others.add(listener));
      return () => {
        others.delete(listener);
        if (others.size === 0 && listeners.get(run) === others) listeners.delete(run);
      };
    },
    async stop() {
      listeners.clear();
      await (await connection?.catch(() => undefined))?.stop();
    },
  };
}
