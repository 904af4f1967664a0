type Pair<Item> = readonly [Item | undefined, Item | undefined];

/** Both may be long, and a table of all pairs is not made for more than so many. */
const maxCells = 4_000_000;

/**
 * Sets two lists side by side, both in their order: items of one `key` are paired along a longest common subsequence, and between such
 * pairs items of one `name`, first with first. Where the lists are too long for that, the n-th of a key is paired with the n-th.
 */
export function align<Item>(
  before: readonly Item[],
  after: readonly Item[],
  key: (item: Item) => string,
  name: (item: Item) => string,
): readonly Pair<Item>[] {
  return between(before, after, common(before.map(key), after.map(key))).flatMap((part) =>
    part.paired
      ? [part.pair]
      : between(part.before, part.after, common(part.before.map(name), part.after.map(name))).flatMap(pairsOf),
  );
}

type Part<Item> =
  | { readonly paired: true; readonly pair: Pair<Item> }
  | { readonly paired: false; readonly before: readonly Item[]; readonly after: readonly Item[] };

function pairsOf<Item>(part: Part<Item>): readonly Pair<Item>[] {
  if (part.paired) return [part.pair];
  return [
    ...part.before.map((item): Pair<Item> => [item, undefined]),
    ...part.after.map((item): Pair<Item> => [undefined, item]),
  ];
}

/** What is paired, and what lies between. */
function between<Item>(
  before: readonly Item[],
  after: readonly Item[],
  pairs: readonly (readonly [number, number])[],
): readonly Part<Item>[] {
  const parts: Part<Item>[] = [];
  let [left, right] = [0, 0];
  const gap = (toLeft: number, toRight: number): void => {
    if (toLeft > left || toRight > right)
      parts.push({ paired: false, before: before.slice(left, toLeft), after: after.slice(right, toRight) });
  };
  for (const [i, j] of pairs) {
    gap(i, j);
    parts.push({ paired: true, pair: [before[i], after[j]] });
    [left, right] = [i + 1, j + 1];
  }
  gap(before.length, after.length);
  return parts;
}

/** A longest common subsequence, as pairs of places; the earliest where there are several. */
function common(a: readonly string[], b: readonly string[]): readonly (readonly [number, number])[] {
  const width = b.length + 1;
  if (a.length * width > maxCells) return inStep(a, b);
  const lengths = new Uint16Array((a.length + 1) * width);
  const at = (i: number, j: number): number => lengths[i * width + j] ?? 0;
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1)
      lengths[i * width + j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  }
  const pairs: (readonly [number, number])[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (a[i] === b[j]) pairs.push([i++, j++]);
    else if (at(i + 1, j) >= at(i, j + 1)) i += 1;
    else j += 1;
  }
  return pairs;
}

/** One pass: each takes the next of its key that keeps the order. */
function inStep(a: readonly string[], b: readonly string[]): readonly (readonly [number, number])[] {
  const pairs: (readonly [number, number])[] = [];
  let from = 0;
  a.forEach((key, i) => {
    const j = b.indexOf(key, from);
    if (j < 0) return;
    pairs.push([i, j]);
    from = j + 1;
  });
  return pairs;
}
