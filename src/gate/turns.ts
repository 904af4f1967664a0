/** Where somebody wants a turn: an exclusive one comes after all that were asked for before it, a shared one after exclusive ones only. */
export type Place = { readonly name: string; readonly exclusive: boolean };

/** When the exclusive turns so far are over, and when all are. */
type Queue = { readonly exclusive: Promise<unknown>; readonly all: Promise<unknown> };

const nobody: Queue = { exclusive: Promise.resolve(), all: Promise.resolve() };

/**
 * Does work in the order in which it was asked for, as far as it wants the same places, inside of this process: other workers are kept apart by
 * the database. With `longestMs`, a turn is over when it has lasted so long, though its work goes on: turns then save work, and keep nobody apart.
 */
export function createTurns(longestMs?: number) {
  const queues = new Map<string, Queue>();

  function join({ name, exclusive }: Place, over: Promise<void>): Promise<unknown> {
    const before = queues.get(name) ?? nobody;
    const all = Promise.all([before.all, over]);
    const queue = { exclusive: exclusive ? all : before.exclusive, all };
    queues.set(name, queue);
    void all.then(() => queues.get(name) === queue && queues.delete(name));
    return exclusive ? before.all : before.exclusive;
  }

  return async <Result>(places: readonly Place[], work: () => Promise<Result>): Promise<Result> => {
    const { promise: over, resolve: end } = Promise.withResolvers<void>();
    // In all queues at once, so that no two wait for each other.
    await Promise.all(places.map((place) => join(place, over)));
    const timer = longestMs === undefined ? undefined : setTimeout(end, longestMs);
    try {
      return await work();
    } finally {
      clearTimeout(timer);
      end();
    }
  };
}
