/**
 * The places where a crash or an error matters most, each named after the operation that it wraps. `docs/faults.md` says what of the plan each
 * one stands for. A point is in one place only, so that its hits can be told apart by their number.
 */
export const faultPoints = [
  // A run's two ends.
  "run.register",
  "run.start",
  "run.open",
  "run.close",
  // The effect path.
  "decision.write",
  "model.call",
  "model.record",
  "effect.call",
  "effect.again",
  "effect.record",
  "activity.end",
  "outcome.settle",
  "outcome.resolve",
  // The approval path.
  "approval.open",
  "approval.decide",
  "approval.signal",
  "approval.told",
  "approval.consume",
  // The append path.
  "ledger.batch",
  "ledger.entries",
  "ledger.state",
  "ledger.sign",
  "ledger.remember",
  "ledger.checkpoint",
  "ledger.key",
  "key.file",
  "witness.ask",
  "witness.keep",
  // The export path.
  "history.seal",
  "contents.read",
  "export.file",
  "export.rename",
  // Any transaction.
  "store.commit",
] as const;
export type FaultPoint = (typeof faultPoints)[number];

/**
 * - `kill`: SIGKILL instead of the operation. `do-then-kill`: after it.
 * - `throw`: an error instead of the operation. `do-then-throw`: it is done, and whoever asked for it is told that it failed.
 * - `hang`: the operation begins three seconds late.
 */
export const faultKinds = ["kill", "throw", "do-then-throw", "do-then-kill", "hang"] as const;
export type FaultKind = (typeof faultKinds)[number];

/** What happens at the `hit`-th time, from 1, that a process comes to a point; 0: every time. */
export type Fault = { readonly point: FaultPoint; readonly hit: number; readonly kind: FaultKind };

/** `point:hit:kind`, `*` for every hit; several with commas between them, `none` for none. Undefined where it is anything else. */
export function parseFaults(text: string): readonly Fault[] | undefined {
  if (text === "none") return [];
  const faults = text.split(",").map(parseFault);
  return faults.every((fault) => fault !== undefined) ? faults : undefined;
}

function parseFault(text: string): Fault | undefined {
  const [point, hit = "", kind, ...rest] = text.split(":");
  const known = faultPoints.find((name) => name === point);
  const how = faultKinds.find((name) => name === kind);
  if (known === undefined || how === undefined || rest.length > 0 || !/^(\*|[1-9]\d{0,5})$/.test(hit)) return undefined;
  return { point: known, hit: hit === "*" ? 0 : Number(hit), kind: how };
}

export function faultText({ point, hit, kind }: Fault): string {
  return `${point}:${hit === 0 ? "*" : hit}:${kind}`;
}
