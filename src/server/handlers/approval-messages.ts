import { ApiError } from "../../api/index.ts";
import { answerQuestion, askAbout, messagesOf, visibleText } from "../../approvals/index.ts";
import type { Message } from "../../approvals/index.ts";
import type { ApprovalId } from "../../core/ids.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import { getPayloads, inTransaction, putPayloads, sealingOf } from "../../store/index.ts";
import type { PayloadKeys, Tx } from "../../store/index.ts";
import type { Services } from "../dependencies.ts";
import type { Handlers } from "../handler.ts";
import { approvalMessage } from "../ledger-events.ts";
import { existingRequest } from "./approval-request.ts";

export const messageHandlers: Handlers<"askApproval" | "answerApproval"> = {
  askApproval: async ({ params, body }, { services, caller }) =>
    say(services, params.approval, body.text, caller().id, askAbout),
  answerApproval: async ({ params, body }, { services, caller }) =>
    say(services, params.approval, body.text, caller().id, answerQuestion),
};

async function say(
  { pool, keys, now }: Services,
  request: ApprovalId,
  text: string,
  author: string,
  append: typeof askAbout,
) {
  const at = now();
  await inTransaction(pool, async (tx) => {
    const { run } = await existingRequest(tx, request);
    const [content] = await putPayloads(tx, await sealingOf(tx, keys, run), [text]);
    if (content === undefined) throw new ApiError("internal", "the text was not stored");
    const { request: asked, message } = await append(tx, { request, author, content, now: at });
    await appendToOutbox(tx, [approvalMessage(asked, message)]);
  });
  return { messages: [...(await messageViews(pool, keys, request))] };
}

/** Questions and answers with their texts; null where one was erased. */
export async function messageViews(tx: Tx, keys: PayloadKeys, request: ApprovalId) {
  const messages = await messagesOf(tx, request);
  const texts = await getPayloads(
    tx,
    keys,
    messages.map(({ content }) => content),
  );
  return messages.map(({ n, kind, author, content, at }: Message) => {
    const text = texts.get(content);
    return { n, kind, author, text: typeof text === "string" ? visibleText(text) : null, at: at.toISOString() };
  });
}
