import type { LedgerError } from "./errors.ts";

/** Why logs are not signed at the moment, by log and by who found it out. In one process: each finds it out for itself. */
export class StoppedLogs {
  readonly #reasons = new Map<string, Map<string, LedgerError>>();

  /** `by` finds that the log must not be signed. */
  stop(log: string, by: string, reason: LedgerError): void {
    const reasons = this.#reasons.get(log) ?? new Map<string, LedgerError>();
    reasons.set(by, reason);
    this.#reasons.set(log, reasons);
  }

  /** What `by` found is over. */
  clear(log: string, by: string): void {
    const reasons = this.#reasons.get(log);
    reasons?.delete(by);
    if (reasons?.size === 0) this.#reasons.delete(log);
  }

  /** The first reason that somebody else than `by` has, or undefined. */
  reason(log: string, by?: string): LedgerError | undefined {
    for (const [who, reason] of this.#reasons.get(log) ?? []) if (who !== by) return reason;
    return undefined;
  }

  list(): readonly { readonly log: string; readonly why: string }[] {
    return [...this.#reasons.keys()].toSorted().map((log) => ({ log, why: this.reason(log)?.message ?? "" }));
  }
}
