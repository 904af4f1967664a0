import { rendererVersion } from "../../approvals/offline.ts";
import { rulesOf } from "../../core/labels.ts";
import type { LedgerEntry } from "../../core/ledger-event.ts";
import { callablesOf } from "../../core/retrieval.ts";
import type { ApprovalRecord, DecisionRecord, RunRecord } from "../../core/run-record.ts";
import type { ModelResult } from "../../core/transcript.ts";
import { exhaustedBy, policyRequestOf, redactionOf, renderAnswer, renderCall } from "../../gate/offline.ts";
import type { ResolvedStep, RunContext } from "../../gate/offline.ts";
import { compilePolicies, explain, parsePolicySet } from "../../policy/index.ts";
import type { CompiledPolicies } from "../../policy/index.ts";
import { contentDigest } from "../../store/canonical.ts";
import { editedAgain } from "./edits.ts";
import { resolveStep, runContextOf } from "../decisions/recorded-step.ts";

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
  const { flow, response } = decision.facts;
  const rules = rulesOf(flow);
  const asked = resolveStep(record, run, step, rules);
  if (response !== undefined) return answerAgain(record, run, asked, decision);
  const { edit = null } = decision;
  const resolved = edit === null ? asked : editedAgain(record, asked, edit);
  const exhausted = exhaustedBy(decision.facts.budget);
  if (
    decision.effective === null ||
    (resolved.kind === "tool" && decision.effective === contentDigest(record.salt, resolved.args))
  )
    return renderCall(run, resolved, { exhausted });
  const asking = { ...policyRequestOf(run, resolved, decision.facts), rules };
  const { effective } = explain(compiledFor(record, decision), asking, []);
  return renderCall(run, resolved, { effective, exhausted });
}

function answerAgain(
  record: RunRecord,
  run: RunContext,
  step: ResolvedStep,
  { facts, effective, policySet }: DecisionRecord,
): string {
  const digest = facts.response?.answer;
  const found = digest === undefined ? undefined : record.payloads[digest];
  if (digest === undefined || found === undefined || step.kind !== "model")
    throw new Error("what the model answered is missing");
  const answer = found as unknown as ModelResult;
  if (effective === null) return renderAnswer(step, answer, digest);
  const asked = policyRequestOf(run, step, facts, redactionOf(run, step, answer));
  const made = explain(compiledFor(record, { policySet }), asked, []).effective as unknown as ModelResult | undefined;
  return renderAnswer(step, answer, digest, made);
}

function compiledFor(record: RunRecord, { policySet }: Pick<DecisionRecord, "policySet">): CompiledPolicies {
  return compilePolicies(parsePolicySet(record.policySets[policySet]), callablesOf(record.release));
}
