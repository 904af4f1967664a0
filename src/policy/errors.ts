import { CodedError } from "../core/errors.ts";
import type { YamlProblem } from "../core/yaml-document.schema.ts";

/** One thing that is wrong, or looks wrong, with a policy set. */
export type PolicyProblem = {
  readonly severity: "error" | "warning";
  /** The `@id` of the policy, where one is known. */
  readonly policy?: string;
  readonly file?: string;
  /** From 1: in `file` if there is one, else in the policy's own text. */
  readonly line?: number;
  /** From 1, in characters. */
  readonly column?: number;
  readonly message: string;
};

export type PolicyErrorCode =
  /** The policy set cannot be used: see `problems`. */
  | "policies_invalid"
  /** No Cedar schema can be made for the tools. */
  | "tools_invalid"
  /** `cases.yaml` is not a table of cases. */
  | "cases_invalid"
  /** The directory or a file in it cannot be read. */
  | "directory_unreadable";

export class PolicyError extends CodedError<PolicyErrorCode> {
  readonly problems: readonly PolicyProblem[];

  constructor(
    code: PolicyErrorCode,
    message: string,
    options: { cause?: unknown; hint?: string; problems?: readonly PolicyProblem[] } = {},
  ) {
    super(code, message, options);
    this.problems = options.problems ?? [];
  }
}

/** Throws PolicyError if any problem is an error; its message shows the first of them. */
export function refuseErrors(
  problems: readonly PolicyProblem[],
  code: "policies_invalid" | "cases_invalid" = "policies_invalid",
): void {
  const errors = problems.filter((problem) => problem.severity === "error");
  const [first] = errors;
  if (first === undefined) return;
  const others = errors.length === 1 ? "" : ` (and ${errors.length - 1} more)`;
  throw new PolicyError(code, `${formatProblem(first)}${others}`, {
    problems: errors,
    hint: "run `countersign policy check` on the directory to see every problem with its line",
  });
}

/** `support.cedar:12:8: policy refund/limit: unexpected token`. */
export function formatProblem(problem: PolicyProblem): string {
  const policy = problem.policy === undefined ? [] : [`policy ${problem.policy}`];
  return [...placeText(problem), ...policy, problem.message].join(": ");
}

function placeText({ file, line, column }: PolicyProblem): string[] {
  if (file !== undefined) return [[file, line, column].filter((part) => part !== undefined).join(":")];
  if (line === undefined) return [];
  return [column === undefined ? `line ${line}` : `line ${line}, column ${column}`];
}

/** As a person reads a pack: file by file, from the top; what has no place comes last. */
export function inReadingOrder<Problem extends PolicyProblem>(problems: readonly Problem[]): Problem[] {
  const fileOf = ({ file }: Problem): string => file ?? "\uffff";
  return problems.toSorted(
    (a, b) =>
      (fileOf(a) === fileOf(b) ? 0 : fileOf(a) < fileOf(b) ? -1 : 1) ||
      (a.line ?? 0) - (b.line ?? 0) ||
      (a.column ?? 0) - (b.column ?? 0),
  );
}

/** What is wrong with a YAML file of a pack. */
export function yamlProblems(file: string, problems: readonly YamlProblem[]): PolicyProblem[] {
  return problems.map(({ line, column, path, message }) => {
    return { severity: "error", file, line, column, message: path === "" ? message : `${path}: ${message}` };
  });
}
