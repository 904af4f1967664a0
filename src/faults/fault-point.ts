import { appendFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { CodedError } from "../core/errors.ts";
import { faultText } from "./points.ts";
import type { Fault, FaultPoint } from "./points.ts";

/** `fault_refused`: this process may not be made to fail. `fault_injected`: it was made to. */
export class FaultError extends CodedError<"fault_refused" | "fault_injected"> {}

/** Long enough for others to come in between. */
const hangMs = 3_000;
/** What was sent before the fault gets this long to arrive: a statement of the same turn, say. */
const settleMs = 20;

type Armed = {
  readonly faults: readonly Fault[];
  readonly hits: Map<FaultPoint, number>;
  /** A line for each hit, `point:hit:kind`, with the kind `-` where nothing happened. */
  readonly log: string | undefined;
};

let armed: Armed | undefined;

/**
 * An operation at which this process can be made to fail, by `armFaults` and by nothing else. Without it, it is the operation: one comparison
 * is what it costs.
 */
export function faultPoint<Result>(point: FaultPoint, work: () => Promise<Result>): Promise<Result> {
  return armed === undefined ? work() : hit(armed, point, work);
}

/** Begins counting hits, and has `faults` happen. */
export function arm(faults: readonly Fault[], log: string | undefined): void {
  armed = { faults, hits: new Map(), log };
}

export function disarm(): void {
  armed = undefined;
}

/** Where nothing happens, `work` is begun in the same turn: statements that are sent together still are. */
async function hit<Result>(
  { faults, hits, log }: Armed,
  point: FaultPoint,
  work: () => Promise<Result>,
): Promise<Result> {
  const count = (hits.get(point) ?? 0) + 1;
  hits.set(point, count);
  const fault = faults.find((one) => one.point === point && (one.hit === 0 || one.hit === count));
  // Written at once: a killed process writes nothing any more.
  if (log !== undefined) appendFileSync(log, `${point}:${count}:${fault?.kind ?? "-"}\n`);
  if (fault === undefined) return work();
  await sleep(settleMs);
  switch (fault.kind) {
    case "kill":
      return killed();
    case "throw":
      throw injected(fault);
    case "do-then-throw":
      await work();
      throw injected(fault);
    case "do-then-kill":
      await work();
      return killed();
    case "hang":
      await sleep(hangMs);
      return work();
  }
}

function killed(): Promise<never> {
  process.kill(process.pid, "SIGKILL");
  return new Promise(() => undefined);
}

function injected(fault: Fault): FaultError {
  return new FaultError("fault_injected", `fault \`${faultText(fault)}\` was asked for`);
}
