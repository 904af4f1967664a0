let missedGoals = 0;

/** What is said of a goal, and counted where it is missed. A figure that is not a number reaches none. */
export function met(isMet: boolean): "met" | "missed" {
  if (!isMet) missedGoals += 1;
  return isMet ? "met" : "missed";
}

/** How many goals were said to be missed in this process. */
export function missed(): number {
  return missedGoals;
}

/** Prints a line for each goal: what is wanted, what was found, and whether it was met. */
export function printGoals(
  print: (line: string) => void,
  goals: readonly (readonly [wanted: string, found: string | number, isMet: boolean])[],
): void {
  for (const [wanted, found, isMet] of goals) print(`goal: ${wanted}: ${found}, ${met(isMet)}`);
}
