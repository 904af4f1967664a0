import { rendererVersion } from "../approvals/offline.ts";
import type { Digest } from "../core/ids.ts";
import type { LedgerEntry } from "../core/ledger-event.ts";
import { callablesOf } from "../core/retrieval.ts";
import type { ApprovalRecord, RunRecord } from "../core/run-record.ts";
import type { ModelResult } from "../core/transcript.ts";
import { exhaustedBy, policyRequestOf, renderAnswer, renderCall } from "../gate/offline.ts";
import type { ResolvedStep } from "../gate/offline.ts";
import { compilePolicies, explain, parsePolicySet } from "../policy/index.ts";
import { contentDigest } from "../store/canonical.ts";
import { editedAgain } from "./edits.ts";
import { resolveStep, runContextOf } from "./recorded-step.ts";

/**
 * Whether what reviewers were shown is the action that they decided on: the text is made again from the recorded contents. Texts of an
 * older renderer, which cut long values, are only there.
 */
export function renderedProblems(
  record: RunRecord,
  request: ApprovalRecord,
  requested: LedgerEntry,
): readonly string[] {
  const shown = String(requested.facts["rendered"]);
  if (!Object.hasOwn(record.payloads, shown)) return ["what its reviewers were shown is missing"];
  const { renderer } = requested.facts;
  if (renderer === undefined) return [];
  if (renderer !== rendererVersion)
    return [`what its reviewers were shown was made by renderer ${String(renderer)}, unknown here`];
  try {
    const again = contentDigest(record.salt, renderedAgain(record, request));
    return again === shown ? [] : ["what its reviewers were shown is not the action"];
  } catch (error) {
    return [
      `what its reviewers were shown cannot be made again: ${error instanceof Error ? error.message : "unknown"}`,
    ];
  }
}

function renderedAgain(record: RunRecord, request: ApprovalRecord): string {
  const decision = record.decisions.find(
    ({ approval, outcome }) => approval === request.id && outcome === "require_approval",
  );
  const step = record.steps.find(({ seq }) => seq === request.seq);
  if (decision === undefined || step === undefined) throw new Error("no decision asked for it");
  const run = runContextOf(record);
  const asked = resolveStep(record, run, step);
  const { response } = decision.facts;
  if (response !== undefined) return answerAgain(record, asked, response.answer);
  const { edit = null } = decision;
  const resolved = edit === null ? asked : editedAgain(record, asked, edit);
  const exhausted = exhaustedBy(decision.facts.budget);
  if (
    decision.effective === null ||
    (resolved.kind === "tool" && decision.effective === contentDigest(record.salt, resolved.args))
  )
    return renderCall(run, resolved, { exhausted });
  const compiled = compilePolicies(parsePolicySet(record.policySets[decision.policySet]), callablesOf(record.release));
  const { effective } = explain(compiled, policyRequestOf(run, resolved, decision.facts), []);
  return renderCall(run, resolved, { effective, exhausted });
}

function answerAgain(record: RunRecord, step: ResolvedStep, digest: Digest): string {
  const answer = record.payloads[digest];
  if (answer === undefined || step.kind !== "model") throw new Error("what the model answered is missing");
  return renderAnswer(step, answer as unknown as ModelResult, digest);
}
