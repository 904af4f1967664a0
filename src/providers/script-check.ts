import { compileWhen, filterNames, placeholder } from "./script-template.ts";

type Texts = { readonly text?: string | undefined; readonly json?: unknown; readonly calls?: unknown };
type Turns = readonly Texts[];
type BranchTexts = {
  readonly when: string;
  readonly turns: Turns;
  readonly exits: readonly { readonly turns: Turns }[];
};

export type PlacedProblem = { readonly path: readonly (string | number)[]; readonly message: string };

/** What can be said about a script's templates before it is played: names that no `when` captures, filters that do not exist. */
export function templateProblems(script: {
  readonly branches: readonly BranchTexts[];
  readonly fallback: Texts;
}): readonly PlacedProblem[] {
  return [
    ...script.branches.flatMap((branch, index) => branchProblems(branch, ["branches", index])),
    ...turnProblems(script.fallback, ["inputs"], ["fallback"]),
  ];
}

function branchProblems(branch: BranchTexts, path: readonly (string | number)[]): readonly PlacedProblem[] {
  const names = captureNames(branch.when);
  const exits = branch.exits.flatMap((exit, index) =>
    listProblems(exit.turns, names, [...path, "exits", index, "turns"]),
  );
  return [...listProblems(branch.turns, names, [...path, "turns"]), ...exits];
}

function listProblems(
  turns: Turns,
  names: readonly string[],
  path: readonly (string | number)[],
): readonly PlacedProblem[] {
  return turns.flatMap((turn, index) => turnProblems(turn, names, [...path, index]));
}

function turnProblems(
  turn: Texts,
  names: readonly string[],
  path: readonly (string | number)[],
): readonly PlacedProblem[] {
  const text = JSON.stringify([turn.text ?? null, turn.json ?? null, turn.calls ?? null]);
  return [...text.matchAll(placeholder)].flatMap((match) => {
    const problem = expressionProblem(match[1] ?? "", names);
    return problem === undefined ? [] : [{ path, message: problem }];
  });
}

function expressionProblem(expression: string, names: readonly string[]): string | undefined {
  const [path = "", ...filters] = expression.split("|").map((part) => part.trim());
  const wrong = filters.find((filter) => !filterNames.includes(filter));
  if (wrong !== undefined) return `there is no filter \`${wrong}\`, expected one of ${filterNames.join(", ")}`;
  const [head = ""] = path.split(".");
  if (head === "result" ? /^result\.[\w-]+(#[1-9]\d*)?(\.[\w-]+)*$/.test(path) : names.includes(head)) return undefined;
  return `\`${path}\` is neither result.TOOL… nor a named group of \`when\``;
}

/** An alternative that matches nothing makes every group known and undefined. */
function captureNames(when: string): readonly string[] {
  try {
    return Object.keys(compileWhen(`${when}|`).exec("")?.groups ?? {});
  } catch {
    return [];
  }
}
