import type { FaultPoint } from "../../../src/faults/index.ts";
import type { ChildRole } from "./child.ts";

/** In which processes a point is. */
const roles: { readonly [Point in FaultPoint]: ChildRole | readonly ChildRole[] } = {
  "run.register": "server",
  "run.start": "server",
  "run.open": "worker",
  "run.close": "worker",
  "decision.write": "worker",
  "model.call": "worker",
  "model.record": "worker",
  "effect.call": "worker",
  "effect.again": "worker",
  "effect.record": "worker",
  "activity.end": "worker",
  "outcome.settle": "worker",
  "outcome.resolve": "server",
  "approval.open": "worker",
  "approval.decide": "server",
  "approval.signal": "server",
  "approval.told": "server",
  "approval.consume": "worker",
  "ledger.batch": "server",
  "ledger.entries": "server",
  "ledger.state": "server",
  "ledger.sign": "server",
  "ledger.remember": "server",
  "ledger.checkpoint": "server",
  "ledger.key": "server",
  "key.file": "rotate",
  "witness.ask": "server",
  "witness.keep": "server",
  "history.seal": "server",
  "contents.read": "server",
  "export.file": "export",
  "export.rename": "export",
  "store.commit": ["server", "worker"],
};

export function isIn(point: FaultPoint, role: ChildRole): boolean {
  return [roles[point]].flat().includes(role);
}
