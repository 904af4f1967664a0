import type { ReleaseDocument } from "../../core/release.ts";
import { callablesOf } from "../../core/retrieval.ts";
import type { Message } from "../../core/transcript.ts";

/** What a server's protocol says around each item in JSON, and what its chat template may add to it in tokens. */
const bytesAround = { request: 512, message: 96, toolCall: 64, tool: 128, output: 128 } as const;

/**
 * More tokens than the request can have, and more bytes: a token of a byte-level tokenizer is at least one byte, and every message and
 * tool adds a few of its own. Strict rather than close: what is held and not spent is given back with the result.
 */
export function inputTokenBound(messages: readonly Message[], document: ReleaseDocument): number {
  const { output, model } = document;
  const ofMessages = messages.reduce((sum, message) => {
    const calls = message.role === "assistant" ? message.toolCalls.length : 0;
    return sum + bytesAround.message + calls * bytesAround.toolCall + bytesOf(message);
  }, 0);
  const ofTools = callablesOf(document).reduce((sum, { name, description, parameters }) => {
    return sum + bytesAround.tool + bytesOf([name, description, parameters]);
  }, 0);
  const ofOutput = output === undefined ? 0 : bytesAround.output + bytesOf(output);
  return bytesAround.request + bytesOf(model.name) + ofMessages + ofTools + ofOutput;
}

function bytesOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}
