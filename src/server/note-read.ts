import { ulid } from "ulid";

import type { RunId } from "../core/ids.ts";
import { faultPoint } from "../faults/index.ts";
import { appendToOutbox } from "../ledger/index.ts";
import type { Caller } from "./scope.ts";
import type { Services } from "./dependencies.ts";
import { contentsRead } from "./ledger-events.ts";
import type { ReadPlace } from "./ledger-events.ts";

/** Puts it into the team's ledger that somebody reads contents, of a run or of many of the team, before any leaves: what cannot be recorded is not read. */
export async function noteRead(
  { pool, now }: Pick<Services, "pool" | "now">,
  run: { readonly id?: RunId; readonly team: string },
  what: ReadPlace,
  by: string,
): Promise<void> {
  await faultPoint("contents.read", () => appendToOutbox(pool, [contentsRead(run, what, ulid(), by, now())]));
}

/** The same where an auditor does; whoever works with runs and approvals reads them all day. */
export async function noteAuditorsRead(
  services: Pick<Services, "pool" | "now">,
  run: { readonly id?: RunId; readonly team: string },
  what: ReadPlace,
  { id, roles }: Pick<Caller, "id" | "roles">,
): Promise<void> {
  if (roles.includes("auditor")) await noteRead(services, run, what, id);
}
