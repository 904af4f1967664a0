/** Work of one kind, that several callers want at the same time, done as one. */
export type Joint<Item, Result> = {
  /** Two items with the same are never done together. */
  readonly key: (item: Item) => string;
  /** Does all of `items`, of different keys, or none of them: results in their order. */
  readonly all: (items: readonly Item[]) => Promise<readonly Result[]>;
  /** Does one. */
  readonly one: (item: Item) => Promise<Result>;
  /** Whether, after `all` failed so, it is certain that nothing was done: each item is then done by itself. */
  readonly undone: (error: unknown) => boolean;
};

type Waiting<Item, Result> = {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
};

/** How many are done together: the rows of one are locked until all are committed. */
const mostTogether = 32;
/** How many such works are under way at once. With one, the database would wait while the next is made ready. */
const mostAtOnce = 2;

/**
 * Returns what does an item, together with the others that are asked for while earlier ones are under way. Nothing waits for company:
 * a lone item is begun in the same turn. One that fails does not fail the others.
 */
export function createTogether<Item, Result>(joint: Joint<Item, Result>): (item: Item) => Promise<Result> {
  let queue: Waiting<Item, Result>[] = [];
  let underWay = 0;
  let isAwaited = false;

  function next(): readonly Waiting<Item, Result>[] {
    const chosen = new Map<string, Waiting<Item, Result>>();
    const left: Waiting<Item, Result>[] = [];
    for (const waiting of queue) {
      const key = joint.key(waiting.item);
      if (chosen.size < mostTogether && !chosen.has(key)) chosen.set(key, waiting);
      else left.push(waiting);
    }
    queue = left;
    return [...chosen.values()];
  }

  function begin(): void {
    isAwaited = false;
    while (underWay < mostAtOnce && queue.length > 0) {
      underWay += 1;
      void perform(next()).finally(() => {
        underWay -= 1;
        begin();
      });
    }
  }

  async function perform(group: readonly Waiting<Item, Result>[]): Promise<void> {
    const [first] = group;
    if (first !== undefined && group.length === 1) return alone(first);
    try {
      const results = await joint.all(group.map(({ item }) => item));
      for (const [index, { resolve }] of group.entries()) resolve(results[index] as Result);
    } catch (error) {
      if (joint.undone(error)) await Promise.all(group.map(alone));
      else for (const { reject } of group) reject(error);
    }
  }

  async function alone({ item, resolve, reject }: Waiting<Item, Result>): Promise<void> {
    await joint.one(item).then(resolve, reject);
  }

  return (item) =>
    new Promise((resolve, reject) => {
      queue.push({ item, resolve, reject });
      // What becomes ready in the same turn goes together.
      if (!isAwaited) process.nextTick(begin);
      isAwaited = true;
    });
}

/** Whether the server itself refused a statement: it then wrote nothing of it. After a lost connection, nobody knows. */
export function isRefused(error: unknown): boolean {
  return error instanceof Error && "severity" in error && error.severity === "ERROR";
}
