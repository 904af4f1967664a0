import { ApiError } from "../../api/index.ts";
import { requestById } from "../../approvals/index.ts";
import type { ApprovalRequest } from "../../approvals/index.ts";
import type { ApprovalId } from "../../core/ids.ts";
import type { Tx } from "../../store/index.ts";

export async function existingRequest(tx: Tx, id: ApprovalId): Promise<ApprovalRequest> {
  const request = await requestById(tx, id);
  if (request === undefined) {
    throw new ApiError("approval_not_found", `no approval request \`${id}\``, {
      hint: "see `countersign approvals list`",
    });
  }
  return request;
}
