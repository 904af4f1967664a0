import type { ApprovalId } from "../core/ids.ts";
import type { Tx } from "../store/index.ts";

/** A reviewer is shown a request: the first time is kept, to count from. Nothing is written where they were before. One statement. */
export async function noteViewing(tx: Tx, request: ApprovalId, reviewer: string, now: Date): Promise<void> {
  await tx.query(
    `insert into approval_viewing (request, reviewer, at)
     select id, $2, $3 from approval_request where id = $1 and state = 'pending' and expires_at > $3
     on conflict do nothing`,
    [request, reviewer, now],
  );
}
