import type { z } from "zod";

import { chunkSchema, malformed } from "./answer.schema.ts";
import { ProviderError } from "./errors.ts";

/** A piece of an answer that is still being made. Only for showing it, and for signs of life: the answer itself counts. */
export type ModelDelta =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "tool_call"; readonly index: number; readonly name: string; readonly argumentsText: string };

type Chunk = z.infer<typeof chunkSchema>;
type ChunkDelta = NonNullable<NonNullable<NonNullable<Chunk["choices"]>[number]>["delta"]>;
type ToolCallDelta = NonNullable<ChunkDelta["tool_calls"]>[number];
type PartialCall = { id: string; name: string; arguments: string };

/**
 * Reads a streamed answer to its end, and gives the completion that the same server would have sent in one piece.
 * Throws `truncated_response` where the events stop before the answer is complete: a cut stream looks like a short answer otherwise
 * (that, and its logging of events that it cannot read, is why the client library's own reader is not used).
 */
export async function assembleStream(
  events: AsyncIterable<string>,
  options: { readonly maxBytes: number; readonly onDelta: (delta: ModelDelta) => void },
): Promise<unknown> {
  const answer = new PartialAnswer(options.maxBytes, options.onDelta);
  for await (const data of events) {
    if (data.trim() === "[DONE]") return answer.completion(true);
    answer.add(chunkOf(data));
  }
  return answer.completion(false);
}

function chunkOf(data: string): Chunk {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    throw malformed("model server streamed an event that is not JSON");
  }
  const parsed = chunkSchema.safeParse(value);
  if (!parsed.success) throw malformed("model server streamed an event that is not a completion chunk");
  if (parsed.data.error !== undefined && parsed.data.error !== null) {
    throw new ProviderError("server_error", "model server reported an error within its answer");
  }
  return parsed.data;
}

class PartialAnswer {
  readonly #maxBytes: number;
  readonly #onDelta: (delta: ModelDelta) => void;
  readonly #calls: PartialCall[] = [];
  #content = "";
  #refusal = "";
  #finishReason: string | undefined;
  #usage: unknown;
  #bytes = 0;

  constructor(maxBytes: number, onDelta: (delta: ModelDelta) => void) {
    this.#maxBytes = maxBytes;
    this.#onDelta = onDelta;
  }

  add(chunk: Chunk): void {
    if (chunk.usage !== undefined && chunk.usage !== null) this.#usage = chunk.usage;
    for (const choice of chunk.choices ?? []) {
      if ((choice.index ?? 0) !== 0) throw malformed("model server streamed more than one choice");
      if (choice.delta) this.#addDelta(choice.delta);
      if (typeof choice.finish_reason === "string") this.#finishReason = choice.finish_reason;
    }
  }

  #addDelta(delta: ChunkDelta): void {
    if (typeof delta.content === "string" && delta.content !== "") {
      this.#content += this.#counted(delta.content);
      this.#onDelta({ kind: "text", text: delta.content });
    }
    if (typeof delta.refusal === "string") this.#refusal += this.#counted(delta.refusal);
    for (const call of delta.tool_calls ?? []) this.#addCall(call);
  }

  #addCall(delta: ToolCallDelta): void {
    const index = this.#indexOf(delta);
    const call = (this.#calls[index] ??= { id: "", name: "", arguments: "" });
    const argumentsText = this.#counted(delta.function?.arguments ?? "");
    // The id and the name come whole and once; servers that repeat them repeat the same.
    if (delta.id) call.id = this.#counted(delta.id);
    if (delta.function?.name) call.name = this.#counted(delta.function.name);
    call.arguments += argumentsText;
    this.#onDelta({ kind: "tool_call", index, name: call.name, argumentsText });
  }

  /** Some servers leave the index out: then an id begins the next call, and anything else goes on with the last. */
  #indexOf(delta: ToolCallDelta): number {
    const index = delta.index ?? (delta.id ? this.#calls.length : this.#calls.length - 1);
    if (index < 0 || index > this.#calls.length) throw malformed("model server streamed a tool call out of order");
    return index;
  }

  #counted(text: string): string {
    this.#bytes += Buffer.byteLength(text);
    if (this.#bytes > this.#maxBytes) {
      throw new ProviderError("response_too_large", `model server's answer exceeds ${this.#maxBytes} bytes`);
    }
    return text;
  }

  completion(ended: boolean): unknown {
    if (this.#finishReason === undefined || (!ended && this.#usage === undefined)) {
      throw new ProviderError("truncated_response", "model server's stream ended within its answer");
    }
    const toolCalls = this.#calls.map((call) => ({
      id: call.id,
      function: { name: call.name, arguments: call.arguments },
    }));
    return {
      choices: [
        {
          message: { content: this.#content, refusal: this.#refusal, tool_calls: toolCalls },
          finish_reason: this.#finishReason,
        },
      ],
      usage: this.#usage,
    };
  }
}
