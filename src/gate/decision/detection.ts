import { LRUCache } from "lru-cache";

import type { RunId } from "../../core/ids.ts";
import type { DataClass } from "../../core/labels.ts";
import type { Message, ModelResult } from "../../core/transcript.ts";
import { detect, longestDetected } from "../../policy/index.ts";
import type { ActionSlice, Detected, DetectorOptions } from "../../policy/index.ts";
import { answerText } from "../answers/readings.ts";
import { textsIn } from "../flow/leaves.ts";
import type { ResolvedStep } from "../step/resolve.ts";

/**
 * What another detector says of contents; undefined where there is none, or the policies do not look for it. It answers over the network,
 * so it MUST be asked before a transaction is open: whoever waits for a lock of it would wait for a stranger.
 */
export type Detection = {
  readonly wants: (slice: ActionSlice | undefined) => boolean;
  readonly ofStep: (run: RunId, step: ResolvedStep, slice: ActionSlice | undefined) => Promise<Detected | undefined>;
  readonly ofAnswer: (answer: ModelResult, slice: ActionSlice | undefined) => Promise<Detected | undefined>;
};

/** Conversations of which is remembered what was found in them: they only grow, and none is sent twice. */
const rememberedRuns = 10_000;

type Known = { readonly messages: number; readonly classes: readonly DataClass[] };

export function createDetection(detector: DetectorOptions | undefined): Detection {
  const known = new LRUCache<RunId, Known>({ max: rememberedRuns });

  function wants(slice: ActionSlice | undefined): boolean {
    return detector !== undefined && slice !== undefined && (slice.readsDataClasses || slice.redacts.length > 0);
  }

  async function ofConversation(options: DetectorOptions, run: RunId, messages: readonly Message[]): Promise<Detected> {
    const before = known.get(run);
    const { messages: from, classes } =
      before !== undefined && before.messages <= messages.length ? before : { messages: 0, classes: [] };
    const found = new Set(classes);
    for (const text of togetherUpTo(longestDetected, messages.slice(from).flatMap(textRead))) {
      const answer = await detect(options, text);
      if (answer.status === "failed") return answer;
      for (const one of answer.classes) found.add(one);
    }
    const all = [...found].sort();
    known.set(run, { messages: messages.length, classes: all });
    return { status: "found", classes: all };
  }

  return {
    wants,
    async ofStep(run, step, slice) {
      if (detector === undefined || !wants(slice) || step.refusal !== undefined) return undefined;
      if (step.kind === "model") return ofConversation(detector, run, step.conversation.messages);
      return detect(detector, textsIn(step.args).join("\n"));
    },
    async ofAnswer(answer, slice) {
      return detector === undefined || !wants(slice) ? undefined : detect(detector, answerText(answer));
    },
  };
}

/** Of a model's conversation, what the run has read: neither the operator's words nor the model's own. */
function textRead(message: Message): readonly string[] {
  return message.role === "user" || message.role === "tool" ? [message.content] : [];
}

/** Texts in few pieces; one that is too long by itself stays whole, and is refused. */
function togetherUpTo(most: number, texts: readonly string[]): readonly string[] {
  const pieces: string[] = [];
  for (const text of texts) {
    const last = pieces.at(-1);
    if (last !== undefined && last.length + 1 + text.length <= most) pieces[pieces.length - 1] = `${last}\n${text}`;
    else pieces.push(text);
  }
  return pieces;
}
