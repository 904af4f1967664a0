import type { Tx } from "../store/index.ts";
import type { ApprovalRequest } from "./requests.ts";

/**
 * Everybody whose change is in the call that a request is about: accounts, and the persons behind them and behind those for whom they
 * changed it, as they were then and as they are now. Empty: the call is as the agent asked for it.
 */
export async function editorNames(
  tx: Tx,
  request: Pick<ApprovalRequest, "id" | "editors">,
): Promise<readonly string[]> {
  if (request.editors.length === 0) return [];
  const { rows } = await tx.query<{ names: string[] }>(
    `select e.editors || e.persons || array(select coalesce(person, id) from principal where id = any(e.editors)) as names
     from approval_edit e where e.successor = $1`,
    [request.id],
  );
  return [...new Set([...request.editors, ...(rows[0]?.names ?? [])])];
}
