import { ApiError } from "../api/index.ts";
import { targetExists } from "../registry/index.ts";
import type { Tx } from "../store/index.ts";

/** A misspelt name would be believed to be a team's. Throws `agent_not_found`. */
export async function assertTeam(tx: Tx, team: string): Promise<void> {
  if (await targetExists(tx, { team })) return;
  throw new ApiError("agent_not_found", `team \`${team}\` has no release`, { hint: "see `countersign agent list`" });
}
