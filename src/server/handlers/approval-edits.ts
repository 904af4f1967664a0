import { ApiError } from "../../api/index.ts";
import { decisionsOf, editRequest, requestById, takeDue } from "../../approvals/index.ts";
import { peopleLog } from "../../core/ids.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import { appendToOutbox, logSize } from "../../ledger/index.ts";
import { contentDigest, inTransaction, putPayloads, sealingOf } from "../../store/index.ts";
import { fits } from "../../tools/index.ts";
import { viewOfApproval } from "../approval-views.ts";
import { tellEdit } from "../deliver-decisions.ts";
import type { Handlers } from "../handler.ts";
import { approvalDue, approvalEdited } from "../ledger-events.ts";
import { callOf } from "../recorded-call.ts";
import type { RecordedCall } from "../recorded-call.ts";
import { existingRequest } from "./approval-request.ts";
import { subjectOf } from "./unknown-outcomes.ts";

export const editHandlers: Handlers<"editApproval"> = {
  async editApproval({ params: { approval }, body }, { services, caller }) {
    const { pool, keys } = services;
    const { id: reviewer } = caller();
    const { arguments: args, ...signed } = body;
    const request = await existingRequest(pool, approval);
    const call = await callOf(pool, keys, request);
    if (call === undefined) {
      throw new ApiError(
        "not_editable",
        "this cannot be edited: it is no tool call, or its contents are not here any more",
        {
          hint: "deny it, with a reason that says what would do",
        },
      );
    }
    assertFits(call, args);
    const action = contentDigest(call.salt, { ...call.action, arguments: args } as unknown as Json);
    const now = services.now();
    await inTransaction(pool, async (tx) => {
      const due = await takeDue(tx, now, { request: approval });
      await appendToOutbox(
        tx,
        due.map((event) => approvalDue(event, now)),
      );
      const edited = { arguments: contentDigest(call.salt, args), action };
      await putPayloads(tx, await sealingOf(tx, keys, request.run), [args]);
      const {
        request: asked,
        persons,
        capacity,
      } = await editRequest(tx, signed, edited, reviewer, now, await subjectOf(services, tx, request.run));
      if (asked.id !== approval) throw new ApiError("statement_invalid", "the statement is about another request");
      await appendToOutbox(tx, [
        approvalEdited(asked, { ...edited, persons, capacity }, signed, reviewer, now, await logSize(tx, peopleLog)),
      ]);
    });
    const woken = await tellEdit(services, request.run, approval);
    const after = (await requestById(pool, approval)) ?? request;
    return { approval: viewOfApproval(after, await decisionsOf(pool, approval), services.now()), action, woken };
  },
};

function assertFits({ tool }: RecordedCall, args: JsonObject): void {
  if (tool === undefined) throw new ApiError("not_editable", "the release has no such tool");
  const parsed = fits(args, tool.parameters);
  if (!parsed.ok) {
    throw new ApiError("arguments_invalid", `the arguments do not fit the tool: ${parsed.problem}`, {
      hint: "its JSON Schema is in the release: countersign agent show",
    });
  }
}
