/** What is said of a goal. A figure that is not a number reaches none. */
export function met(isMet: boolean): "met" | "missed" {
  return isMet ? "met" : "missed";
}

/** Prints a line for each goal: what is wanted, what was found, and whether it was met. */
export function printGoals(
  print: (line: string) => void,
  goals: readonly (readonly [wanted: string, found: string | number, isMet: boolean])[],
): void {
  for (const [wanted, found, isMet] of goals) print(`goal: ${wanted}: ${found}, ${met(isMet)}`);
}
