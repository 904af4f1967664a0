/** One thing that an audit looked at. `problems` name the step and both sides; they hold no contents. */
export type AuditCheck = {
  readonly name: string;
  /** `erased`: what it would look at was erased, as the ledger says. */
  readonly status: "passed" | "failed" | "incomplete" | "erased";
  readonly detail: string;
  readonly problems: readonly string[];
};

/** `refuted` where any check failed; else `incomplete` where any could not be made. */
export type AuditReport = {
  readonly verdict: "verified" | "refuted" | "incomplete";
  readonly checks: readonly AuditCheck[];
};

export function reportOf(checks: readonly AuditCheck[]): AuditReport {
  const has = (status: AuditCheck["status"]): boolean => checks.some((check) => check.status === status);
  return { verdict: has("failed") ? "refuted" : has("incomplete") ? "incomplete" : "verified", checks };
}

/** A check that fails with what is wrong, and else passes with `detail`. */
export function check(name: string, detail: string, problems: readonly string[]): AuditCheck {
  return { name, status: problems.length === 0 ? "passed" : "failed", detail, problems };
}

/** A check whose object was erased. It holds nothing against the run. */
export function erasedCheck(name: string, detail: string): AuditCheck {
  return { name, status: "erased", detail, problems: [] };
}

export function notChecked(name: string, detail: string): AuditCheck {
  return { name, status: "incomplete", detail, problems: [] };
}
