import { CodedError } from "../core/errors.ts";

/** One thing that is wrong, or looks wrong, with a policy set. */
export type PolicyProblem = {
  readonly severity: "error" | "warning";
  /** The `@id` of the policy, where one is known. */
  readonly policy?: string;
  readonly file?: string;
  /** From 1: in `file` if there is one, else in the policy's own text. */
  readonly line?: number;
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

/** Throws `policies_invalid` if any problem is an error; its message shows the first of them. */
export function refuseErrors(problems: readonly PolicyProblem[]): void {
  const errors = problems.filter((problem) => problem.severity === "error");
  const [first] = errors;
  if (first === undefined) return;
  const others = errors.length === 1 ? "" : ` (and ${errors.length - 1} more)`;
  throw new PolicyError("policies_invalid", `${formatProblem(first)}${others}`, {
    problems: errors,
    hint: "run `countersign policy check` on the directory to see every problem with its line",
  });
}

/** `support.cedar:12: policy refund/limit: unexpected token`. */
export function formatProblem(problem: PolicyProblem): string {
  const place =
    problem.file === undefined
      ? problem.line === undefined
        ? []
        : [`line ${problem.line}`]
      : [problem.line === undefined ? problem.file : `${problem.file}:${problem.line}`];
  const policy = problem.policy === undefined ? [] : [`policy ${problem.policy}`];
  return [...place, ...policy, problem.message].join(": ");
}
