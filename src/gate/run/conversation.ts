import { LRUCache } from "lru-cache";

import type { Digest, RunId } from "../../core/ids.ts";
import { transcript } from "../../core/transcript.ts";
import type { FinishedStep, Message, ModelResult, ToolResult } from "../../core/transcript.ts";
import type { Pool } from "../../store/index.ts";
import { GateError } from "../errors.ts";
import { extendFlow, startFlow } from "../flow/flow.ts";
import type { RunContext } from "../governed-call.ts";
import type { EndedStep, RunCache } from "./cache.ts";
import { emptyHead, extendHead } from "./head.ts";
import type { Conversation } from "./head.ts";

/** `characters`: what it takes, about. */
type Cached = Conversation & { readonly upTo: number; readonly characters: number };

/** Characters of conversations that one worker keeps at hand; a longer one is read again at each of its steps. */
const cacheCharacters = 128 * 1024 * 1024;

/** Conversations as the record has them. Only new steps are read: what is finished never changes. */
export function createConversations(
  pool: Pool,
  cache: RunCache,
): (run: RunContext, seq: number) => Promise<Conversation> {
  const known = new LRUCache<RunId, Cached>({
    max: 2_000,
    maxSize: cacheCharacters,
    sizeCalculation: ({ characters }) => characters,
  });

  return async (run, seq) => {
    const hit = known.get(run.id);
    const start = hit !== undefined && hit.upTo <= seq ? hit : startOf(run);
    if (hit !== undefined && start.upTo === seq) return hit;
    const steps = await finishedSteps(pool, cache, run, start.upTo, seq);
    const added = messagesOf(steps);
    const flow = extendFlow(start.flow, run, steps);
    const grown = {
      messages: [...start.messages, ...added],
      head: extendHead(start.head, added),
      flow,
      upTo: seq,
      characters: start.characters + charactersOf(added) + flow.characters - start.flow.characters,
    };
    known.set(run.id, grown);
    return grown;
  };
}

function startOf(run: RunContext): Cached {
  const messages = transcript(run.release.document.prompt, run.input.prompt, []);
  const flow = startFlow(run);
  const characters = 1_000 + charactersOf(messages) + flow.characters;
  return { messages, head: extendHead(emptyHead, messages), flow, upTo: 0, characters };
}

function charactersOf(messages: readonly Message[]): number {
  return messages.reduce((sum, message) => sum + 100 + message.content.length + argumentCharacters(message), 0);
}

function argumentCharacters(message: Message): number {
  return message.role === "assistant" ? message.toolCalls.reduce((sum, call) => sum + call.arguments.length, 0) : 0;
}

function messagesOf(steps: readonly FinishedStep[]): readonly Message[] {
  // The first two are the system's and the user's, which every conversation starts with.
  return transcript("", "", steps).slice(2);
}

async function finishedSteps(
  pool: Pool,
  cache: RunCache,
  run: RunContext,
  from: number,
  to: number,
): Promise<readonly FinishedStep[]> {
  const ends = knownEnds(cache, run, from, to) ?? (await readEnds(pool, run, from, to));
  const contents = await cache.payloads(ends.map((end) => end.result));
  return ends.map((end): FinishedStep => {
    const result = contents.get(end.result);
    if (result === undefined) throw new GateError("transcript_incomplete", `payload \`${end.result}\` is missing`);
    return end.kind === "model"
      ? { kind: "model", result: result as unknown as ModelResult }
      : { kind: "tool", callId: end.callId, result: result as unknown as ToolResult };
  });
}

/** The steps from `from` up to `to`, where this worker has seen every one of them end. */
function knownEnds(cache: RunCache, run: RunContext, from: number, to: number): readonly EndedStep[] | undefined {
  const ends: EndedStep[] = [];
  for (let seq = from; seq < to; seq += 1) {
    const end = cache.ended(run.id, seq);
    if (end === undefined) return undefined;
    ends.push(end);
  }
  return ends;
}

async function readEnds(pool: Pool, run: RunContext, from: number, to: number): Promise<readonly EndedStep[]> {
  const { rows } = await pool.query<Omit<EndedStep, "result"> & { readonly result: Digest | null }>(
    `select kind, coalesce(call_id, '') as "callId", result from step
     where run = $1 and seq >= $2 and seq < $3 and state in ('done', 'failed', 'denied') and (result is not null or code = 'no_room')
     order by seq`,
    [run.id, from, to],
  );
  // A model must never be asked on a conversation with a hole in it.
  if (rows.length !== to - from) {
    throw new GateError(
      "transcript_incomplete",
      `expected ${to - from} finished steps before step ${to}, got ${rows.length}`,
    );
  }
  // A model that was given up without an answer has said nothing.
  return rows.flatMap(({ result, ...end }) => (result === null ? [] : [{ ...end, result }]));
}
