import type { ApprovalContext } from "../api/index.ts";
import { editBehind, lookalikeNote, similarDecisions, visibleText } from "../approvals/index.ts";
import type { ApprovalRequest } from "../approvals/index.ts";
import type { RunFacts } from "../core/decision.ts";
import type { FlowFacts } from "../core/labels.ts";
import type { Digest } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import type { ReleaseDocument } from "../core/release.ts";
import type { RunInput } from "../core/run.ts";
import type { ModelResult } from "../core/transcript.ts";
import { parsePolicySet, reasonsOf } from "../policy/index.ts";
import { policySetByDigest, releaseByDigest } from "../registry/index.ts";
import { decisionsOf, getPayloads, runById, stepsOf } from "../store/index.ts";
import type { PayloadKeys, RunRow, StepRow, Tx } from "../store/index.ts";
import { ApiError } from "../api/index.ts";
import { callOf } from "./recorded-call.ts";
import { changedPaths, placesOf } from "./value-places.ts";
import type { PlacedText } from "./value-places.ts";

const shownMessages = 20;
const shownCharacters = 2_000;

/** What a reviewer is told beside the text that is signed: all of it worked out from the record at the time of asking. */
export async function contextOf(tx: Tx, keys: PayloadKeys, request: ApprovalRequest): Promise<ApprovalContext> {
  const run = await runById(tx, request.run);
  if (run === undefined) throw new ApiError("run_not_found", `no run \`${request.run}\``);
  const [release, steps, decisions, similar, policySet, call, behind] = await Promise.all([
    releaseByDigest(tx, run.release),
    stepsOf(tx, run.id),
    decisionsOf(tx, run.id),
    similarDecisions(tx, request.id),
    policySetByDigest(tx, request.policySet),
    callOf(tx, keys, request),
    editBehind(tx, request.id),
  ]);
  const asked = steps.find(({ seq }) => seq === request.seq);
  const before = steps.filter(({ seq }) => seq <= (asked?.askedBy ?? request.seq - 1));
  const decision = decisions.find((one) => one.approval === request.id && one.outcome === "require_approval");
  const payloads = await getPayloads(tx, keys, digestsIn(run, before));
  const conversation = conversationOf(run, release.document, before, payloads);
  const flow = decision?.facts.flow;
  const original = argumentsAsked(asked, before, payloads);
  // Of the call that is asked about: where a reviewer has changed it, that is not what the model asked for.
  const args = behind === undefined ? original : (call?.action.arguments ?? {});
  const change = behind === undefined ? undefined : { original, by: request.editors };
  const { sources, searchedAll, unlisted } = sourcesOf(args, conversation, flow, change, call?.tool?.parameters);
  return {
    sources: [...sources],
    searchedAll,
    flags: [...flagsOf(decision?.facts, change), ...unlistedFlag(unlisted)],
    conversation: conversation.slice(-shownMessages).map(shown),
    leftOut: Math.max(0, conversation.length - shownMessages),
    policies: reasonsOf(parsePolicySet(policySet.document), decision?.policies ?? []).map(({ policy, text }) => ({
      policy,
      reason: text,
    })),
    similar: {
      states: similar.states,
      reviewers: similar.reviewers.map((one) => ({ ...one })),
      last: similar.last.map((one) => ({
        ...one,
        decidedAt: one.decidedAt.toISOString(),
        reviewers: [...one.reviewers],
      })),
    },
    cost: costOf(run),
  };
}

function costOf({ spentMicroUsd, heldMicroUsd, maxCostMicroUsd, steps, maxSteps }: RunRow): ApprovalContext["cost"] {
  return { spentMicroUsd, heldMicroUsd, maxMicroUsd: maxCostMicroUsd, steps, maxSteps };
}

function digestsIn(run: RunRow, steps: readonly StepRow[]): readonly Digest[] {
  return [run.input, ...steps.map(({ result }) => result)].filter((digest): digest is Digest => digest !== null);
}

type Said = Omit<ApprovalContext["conversation"][number], "text" | "note" | "characters" | "cut"> & {
  /** Undefined: erased. */
  readonly whole: string | undefined;
};

/** The conversation that the call came from, oldest first. */
function conversationOf(
  run: RunRow,
  release: ReleaseDocument,
  steps: readonly StepRow[],
  payloads: ReadonlyMap<Digest, Json>,
): readonly Said[] {
  const input = payloads.get(run.input) as unknown as RunInput | undefined;
  const subject = [input?.subject?.id, input?.subject?.email].filter((fact) => fact !== undefined).join("\n");
  const first = { step: null, tool: null, untrusted: false } as const;
  return [
    { ...first, by: "operator", whole: release.prompt },
    ...(subject === "" ? [] : [{ ...first, by: "operator" as const, whole: subject }]),
    { ...first, by: "user", whole: input?.prompt },
    ...steps.flatMap(({ seq, kind, name, result, state, code }): readonly Said[] => {
      // A model that was given up without an answer has said nothing.
      if (code === "no_room") return [];
      const value = result === null ? undefined : payloads.get(result);
      if (kind === "model") {
        return [{ step: seq, by: "model", tool: null, untrusted: true, whole: textOfModel(value) }];
      }
      const origin = release.tools.find((tool) => tool.name === name)?.results?.origin;
      // A denial is the gate's own sentence.
      const untrusted = state !== "denied" && origin !== "trusted";
      return [{ step: seq, by: "tool", tool: visibleText(name), untrusted, whole: textOf(value) }];
    }),
  ];
}

function textOfModel(value: Json | undefined): string | undefined {
  if (value === undefined) return undefined;
  const { content, toolCalls } = value as unknown as ModelResult;
  return [content, ...toolCalls.map((call) => `→ ${call.name} ${call.arguments}`)]
    .filter((text) => text !== "")
    .join("\n");
}

function textOf(value: Json | undefined): string | undefined {
  return value === undefined || typeof value === "string" ? value : JSON.stringify(value, undefined, 1);
}

function shown({ whole, ...said }: Said): ApprovalContext["conversation"][number] {
  if (whole === undefined) return { ...said, text: null, note: "", characters: 0, cut: false };
  const part = whole.slice(0, shownCharacters);
  return {
    ...said,
    text: visibleText(part.toWellFormed()),
    note: lookalikeNote(part, false).trim(),
    characters: whole.length,
    cut: whole.length > shownCharacters,
  };
}

/** What reviewers made of the call, and of what. */
type Change = { readonly original: Json; readonly by: readonly string[] };

function argumentsAsked(
  asked: StepRow | undefined,
  steps: readonly StepRow[],
  payloads: ReadonlyMap<Digest, Json>,
): Json {
  const asking = steps.find(({ seq }) => seq === asked?.askedBy);
  const answer =
    asking === undefined || asking.result === null
      ? undefined
      : (payloads.get(asking.result) as unknown as ModelResult | undefined);
  return argumentsIn(answer?.toolCalls[asked?.callIndex ?? -1]?.arguments);
}

function sourcesOf(
  args: Json,
  conversation: readonly Said[],
  flow: FlowFacts | undefined,
  change: Change | undefined,
  parameters: Json | undefined,
): Pick<ApprovalContext, "sources" | "searchedAll"> & { readonly unlisted: number } {
  const texts = conversation.flatMap((said): readonly PlacedText[] =>
    said.by === "model" || said.whole === undefined ? [] : [{ place: placeOf(said), text: said.whole }],
  );
  const untrusted = new Set(conversation.filter((said) => said.untrusted).map(placeOf));
  const found = placesOf(args, texts, parameters);
  const changed = change === undefined ? new Set<string>() : changedPaths(change.original, args, parameters);
  return {
    searchedAll: found.searchedAll,
    unlisted: found.unlisted,
    sources: found.values.map(({ path, argument, value, places }) => {
      const origin = (Object.hasOwn(flow?.origins ?? {}, argument) ? flow?.origins[argument] : undefined) ?? "derived";
      // What is trusted, and in no trusted text, is one of the names that the release says a tool's system keeps.
      const isName = origin === "trusted" && places.length > 0 && places.every((place) => untrusted.has(place));
      return {
        path: visibleText(path),
        value: visibleText(value),
        origin,
        places: [
          ...(changed.has(path) && change !== undefined ? [`a change by ${change.by.join(", ")}`] : []),
          ...(value === "" ? ["an empty text, which is nobody's"] : []),
          ...(isName ? ["a name that the tool's system keeps"] : []),
          ...places,
        ],
      };
    }),
  };
}

function unlistedFlag(count: number): readonly string[] {
  return count === 0 ? [] : [`${count} more values or names are not listed here: all are in the text that is signed`];
}

function placeOf({ step, by, tool, untrusted }: Said): string {
  if (by === "user") return "the user's message";
  if (by === "operator") return "the operator's instructions";
  return `${untrusted ? "untrusted " : ""}result of step ${step ?? 0} (${tool ?? ""})`;
}

function argumentsIn(text: string | undefined): Json {
  try {
    return JSON.parse(text === undefined || text === "" ? "{}" : text) as Json;
  } catch {
    return {};
  }
}

function flagsOf(facts: RunFacts | undefined, change: Change | undefined): readonly string[] {
  if (facts === undefined) return [];
  const { flow, response } = facts;
  // What policies redact in an answer was in it all the same: they were asked about it.
  const holder = response === undefined ? "the call" : "the answer, as the model gave it,";
  const maker = change === undefined ? "the model made it" : "the model made it, or a reviewer who changed the call";
  return [
    ...(flow.destination === "untrusted" ? ["where it goes stands only in text that somebody else can write"] : []),
    ...(flow.destination === "derived" ? [`where it goes stands nowhere: ${maker}`] : []),
    ...(flow.contested ? ["untrusted text names the destination too"] : []),
    ...(flow.mixedScript ? ["a destination has look-alike or hidden characters"] : []),
    ...(flow.ungroundedLinks > 0 ? [`${flow.ungroundedLinks} links that nobody trusted gave`] : []),
    ...(flow.dataClasses.length > 0 ? [`${holder} holds: ${flow.dataClasses.join(", ")}`] : []),
    ...(flow.seen.untrusted ? ["the run had read untrusted text before"] : []),
  ];
}
