/** What ends a started thing. It SHOULD be safe to call when the thing has died already. */
type Stop = () => Promise<void> | void;

export type ShutdownStack = {
  /** Adds a thing that was started; it is stopped before everything added earlier, and given up on after `timeoutMs`. */
  add(name: string, stop: Stop, timeoutMs: number): void;
  /** Stops everything, last added first. Never throws: what failed or hung is returned. Later calls share the first one. */
  run(): Promise<readonly ShutdownFailure[]>;
};

export type ShutdownFailure = { readonly name: string; readonly error: unknown };

/** Keeps what was started in order, so that nothing loses the server it depends on while it is still finishing. */
export function createShutdownStack(onStep?: (name: string) => void): ShutdownStack {
  const entries: { name: string; stop: Stop; timeoutMs: number }[] = [];
  let running: Promise<readonly ShutdownFailure[]> | undefined;
  const runAll = async (): Promise<readonly ShutdownFailure[]> => {
    const failures: ShutdownFailure[] = [];
    for (let entry = entries.pop(); entry !== undefined; entry = entries.pop()) {
      onStep?.(entry.name);
      try {
        await within(entry.timeoutMs, entry.stop);
      } catch (error) {
        failures.push({ name: entry.name, error });
      }
    }
    return failures;
  };
  return {
    add: (name, stop, timeoutMs) => void entries.push({ name, stop, timeoutMs }),
    run: () => (running ??= runAll()),
  };
}

/**
 * Resolves at the first request to end: Ctrl-C, `kill`, a closed terminal. A second one ends the process at once with 130,
 * signalling the servers it owns.
 */
export function untilInterrupted(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let asked = false;
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.on(signal, () => {
        if (asked) process.exit(130);
        asked = true;
        resolve(signal);
      });
    }
  });
}

async function within(timeoutMs: number, stop: Stop): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`did not stop within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    await Promise.race([Promise.resolve(stop()), timeout]);
  } finally {
    clearTimeout(timer);
  }
}
