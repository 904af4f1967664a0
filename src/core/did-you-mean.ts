/** The candidate that `word` is most likely a slip of: at most two letters wrong, missing, extra or swapped. Never the word itself. */
export function didYouMean(word: string, candidates: readonly string[]): string | undefined {
  const allowed = Math.min(2, Math.floor(word.length / 2));
  const ranked = candidates
    .map((candidate) => ({ candidate, distance: distanceOf(word.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ candidate, distance }) => candidate !== word && distance <= allowed)
    .toSorted((a, b) => a.distance - b.distance);
  return ranked[0]?.candidate;
}

/** Optimal string alignment distance: insertions, deletions, substitutions, and swaps of neighbours cost 1. */
function distanceOf(a: string, b: string): number {
  // Anything this long is no slip of a field's name, and the table below is quadratic.
  if (Math.abs(a.length - b.length) > 2 || a.length > 64) return Number.POSITIVE_INFINITY;
  let before: readonly number[] = [];
  let last: readonly number[] = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row += 1) {
    const next = [row];
    for (let column = 1; column <= b.length; column += 1) {
      const same = a[row - 1] === b[column - 1];
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      next.push(
        Math.min(
          (last[column] ?? 0) + 1,
          (next[column - 1] ?? 0) + 1,
          (last[column - 1] ?? 0) + (same ? 0 : 1),
          swapped ? (before[column - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
        ),
      );
    }
    before = last;
    last = next;
  }
  return last[b.length] ?? Number.POSITIVE_INFINITY;
}
