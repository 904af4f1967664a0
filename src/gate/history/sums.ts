import { LRUCache } from "lru-cache";

import type { Digest } from "../../core/ids.ts";
import { isObject } from "../../core/json.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { ReleaseDocument } from "../../core/release.ts";
import { callablesOf } from "../../core/retrieval.ts";
import type { ModelResult } from "../../core/transcript.ts";
import { releaseByDigest } from "../../registry/index.ts";
import { contentDigest, getContents } from "../../store/index.ts";
import type { Content, PayloadKeys, Tx } from "../../store/index.ts";
import { summand, uncountable } from "./run-history.ts";

/** How many payloads are opened at once. */
const openedAtOnce = 100;
/** Numbers that one worker keeps at hand: what arguments say never changes. */
const rememberedValues = 50_000;
const rememberedReleases = 50;

/** A step that a sum goes over, and where its arguments are. */
export type SummedStep = {
  /** The fact. */
  readonly name: string;
  readonly tool: string;
  /** What the step was made with: what the model asked for, or what a policy made of it. */
  readonly arguments: Digest;
  readonly asAsked: boolean;
  readonly callIndex: number | null;
  /** The payload that has the arguments: the model's answer, or the arguments themselves. */
  readonly contents: Digest | null;
  readonly release: Digest;
};

/** What each step adds by its argument, in their order. */
export type ArgumentReader = (
  tx: Tx,
  steps: readonly (SummedStep & { readonly argument: string })[],
) => Promise<readonly number[]>;

/** Opens arguments on `tx` alone, and remembers their numbers. Throws `history_uncountable` where they cannot be read. */
export function createArgumentReader(keys: PayloadKeys): ArgumentReader {
  const known = new LRUCache<string, number>({ max: rememberedValues });
  const documents = new LRUCache<Digest, ReleaseDocument>({ max: rememberedReleases });

  async function parametersOf(tx: Tx, { release, tool }: SummedStep): Promise<JsonObject> {
    const document = documents.get(release) ?? (await releaseByDigest(tx, release)).document;
    documents.set(release, document);
    return callablesOf(document).find(({ name }) => name === tool)?.parameters ?? {};
  }

  async function valueOf(
    tx: Tx,
    step: SummedStep & { readonly argument: string },
    contents: ReadonlyMap<Digest, Content>,
  ): Promise<number> {
    const args = argumentsOf(step, step.contents === null ? undefined : contents.get(step.contents));
    // Only an argument that is not given has a default to look up.
    const parameters = Object.hasOwn(args, step.argument) ? {} : await parametersOf(tx, step);
    return summand(args, step.argument, parameters, step.name);
  }

  return async (tx, steps) => {
    const values: number[] = [];
    for (let start = 0; start < steps.length; start += openedAtOnce) {
      const some = steps.slice(start, start + openedAtOnce).map((step) => ({ step, key: keyOf(step) }));
      const closed = some.filter(({ key }) => !known.has(key)).flatMap(({ step }) => step.contents ?? []);
      const contents = await getContents(tx, keys, closed);
      for (const { step, key } of some) {
        const value = known.get(key) ?? (await valueOf(tx, step, contents));
        known.set(key, value);
        values.push(value);
      }
    }
    return values;
  };
}

function keyOf({ release, tool, arguments: args, argument }: SummedStep & { readonly argument: string }): string {
  return `${release}/${tool}/${args}/${argument}`;
}

/** The arguments that a step was made with, checked against the digest that the record has of them. */
function argumentsOf(step: SummedStep, contents: Content | undefined): JsonObject {
  const args = step.asAsked ? parsed(contents?.value, step.callIndex) : contents?.value;
  if (isObject(args) && contentDigest(contents?.salt, args) === step.arguments) return args;
  throw uncountable(
    `the arguments of a step of tool \`${step.tool}\` that the sum ${step.name} goes over cannot be read`,
  );
}

function parsed(answer: Json | undefined, callIndex: number | null): Json | undefined {
  const call = (answer as unknown as ModelResult | undefined)?.toolCalls[callIndex ?? -1];
  try {
    return call === undefined ? undefined : (JSON.parse(call.arguments === "" ? "{}" : call.arguments) as Json);
  } catch {
    return undefined;
  }
}
