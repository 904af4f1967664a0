import { LRUCache } from "lru-cache";

import { checkGrant, consumeGrant, expireRequest, openRequest, renderAction } from "../approvals/index.ts";
import { noFacts } from "../core/decision.ts";
import type { DenialCode, Decision, RunFacts } from "../core/decision.ts";
import { codeOf } from "../core/errors.ts";
import type { ApprovalId, Digest } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import type { LedgerEvent } from "../core/ledger-event.ts";
import type { TokenPrice } from "../core/money.ts";
import type { RunFailureCode } from "../core/run.ts";
import type { ToolResult } from "../core/transcript.ts";
import { appendToOutbox } from "../ledger/index.ts";
import { compilePolicies, explain, parsePolicySet, PolicyError, requestJson } from "../policy/index.ts";
import type { Approved, CompiledPolicies, PolicyRequest } from "../policy/index.ts";
import { policySetByDigest } from "../registry/index.ts";
import { digestOf, inOneTrip, inTransaction, sealPayload, writeSealed } from "../store/index.ts";
import type { PayloadKeys, Pool, SealedPayload, Tx } from "../store/index.ts";
import { GateError } from "./errors.ts";
import type { RunContext } from "./governed-call.ts";
import { decisionEvents, runEvent, writeDecision } from "./record.ts";
import type { DecisionToRecord, Standing } from "./record.ts";
import type { ResolvedStep } from "./resolve.ts";
import type { RunCache } from "./run-cache.ts";

export type GateOptions = {
  readonly pool: Pool;
  readonly keys: PayloadKeys;
  readonly cache: RunCache;
  readonly priceOf: (model: string) => TokenPrice | undefined;
  readonly environment: RunFacts["environment"];
  /** Short, repeatable tools go through local activities. */
  readonly fastLane: boolean;
  readonly now: () => Date;
};

type DecisionRequest = {
  readonly run: RunContext;
  readonly step: ResolvedStep;
  readonly standing: Standing;
  readonly activity: string;
  readonly grant: ApprovalId | undefined;
};

type Decided =
  | { readonly status: "allowed" }
  | { readonly status: "denied"; readonly text: string }
  | { readonly status: "waiting"; readonly request: ApprovalId; readonly expiresAt: number }
  | { readonly status: "halted"; readonly code: RunFailureCode; readonly message: string };

/** The end of a step's first half: everything about it is decided and written in one transaction, or nothing is. */
export function createDecider(options: GateOptions): (request: DecisionRequest) => Promise<Decided> {
  return async (request) => {
    try {
      return request.standing.state === "waiting" || request.grant !== undefined
        ? await inTransaction(options.pool, (tx) => decideAfterWaiting(tx, options, request))
        : await decideFirst(options, request);
    } catch (error) {
      const code = codeOf(error);
      if (error instanceof GateError && (code === "limit_steps" || code === "limit_cost")) {
        return { status: "halted", code, message: error.message };
      }
      throw error;
    }
  };
}

async function decideFirst(options: GateOptions, request: DecisionRequest): Promise<Decided> {
  const judged = await judge(options, request, []);
  const { decision } = judged;
  if (decision.outcome === "require_approval")
    return inTransaction(options.pool, (tx) => askPeople(tx, options, request, judged));
  const record = toRecord(options, request, judged, undefined, denialPayload(options.keys, decision));
  await inOneTrip(options.pool, (tx) => writes(tx, record));
  return decided(record);
}

/**
 * The step waited for people, or says that it did. Which request it waits for is taken from the record; a workflow that names another
 * is denied. The grant is checked, the policy is asked again, and the grant is consumed in the transaction that allows.
 */
async function decideAfterWaiting(tx: Tx, options: GateOptions, request: DecisionRequest): Promise<Decided> {
  const { run, step, standing } = request;
  const waitedFor = standing.state === "waiting" ? standing.lastApproval : null;
  if (waitedFor === null || (request.grant !== undefined && request.grant !== waitedFor)) {
    return refuse(
      tx,
      options,
      request,
      "invalid_grant",
      "the step does not wait for the approval that was presented",
      request.grant,
    );
  }
  const now = options.now();
  const grant = await checkGrant(tx, {
    request: waitedFor,
    actionDigest: step.actionDigest,
    run: run.id,
    seq: step.seq,
    now,
  });
  switch (grant.status) {
    case "pending":
      return { status: "waiting", request: waitedFor, expiresAt: grant.expiresAt.getTime() };
    case "denied":
      return refuse(tx, options, request, "declined", declineText(grant.reason), waitedFor);
    case "expired":
      if (await expireRequest(tx, waitedFor, now)) {
        await appendToOutbox(tx, [
          runEvent(run, "approval.expired", `approval/${waitedFor}/expired`, now, {
            approval: waitedFor,
            seq: step.seq,
          }),
        ]);
      }
      return refuse(tx, options, request, "approval_expired", "nobody decided in time", waitedFor);
    case "cancelled":
    case "invalid":
      return refuse(tx, options, request, "invalid_grant", grant.reason, waitedFor);
    case "granted": {
      const judged = await judge(options, request, grant.approvals);
      if (judged.decision.outcome === "require_approval") {
        return refuse(
          tx,
          options,
          request,
          "invalid_grant",
          "the policy has changed, and now asks for an approval that was not given",
          waitedFor,
        );
      }
      if (judged.decision.outcome === "allow") {
        if (!(await consumeGrant(tx, waitedFor, now))) {
          return refuse(tx, options, request, "invalid_grant", "the approval was used before", waitedFor);
        }
        await appendToOutbox(tx, [
          runEvent(run, "approval.consumed", `approval/${waitedFor}/consumed`, now, {
            approval: waitedFor,
            seq: step.seq,
          }),
        ]);
      }
      return write(tx, options, request, judged, waitedFor);
    }
  }
}

function declineText(reason: string | undefined): string {
  return reason === undefined || reason === "" ? "a reviewer declined" : `a reviewer declined: ${reason}`;
}

type Judged = {
  readonly decision: Decision;
  readonly policySet: Digest;
  readonly facts: RunFacts;
  readonly request: Digest;
};

/** Asks the engine, unless there is nothing to ask: an unknown tool, arguments that do not fit, no price. */
async function judge(options: GateOptions, request: DecisionRequest, approved: readonly Approved[]): Promise<Judged> {
  const { run, step, standing } = request;
  if (standing.policySet === null) {
    throw new GateError("no_policy", `team \`${run.team}\` has no active policy set`, {
      hint: "activate one: countersign policy activate DIR",
    });
  }
  const facts: RunFacts = {
    ...noFacts,
    at: options.now().toISOString(),
    environment: options.environment,
    steps: standing.steps,
    spentMicroUsd: standing.spentMicroUsd,
    sameName: standing.sameName,
  };
  const common = { policySet: standing.policySet, facts };
  if (step.refusal !== undefined) {
    return { ...common, decision: denial(step.refusal.code, step.refusal.text), request: step.actionDigest };
  }
  const { document } = await policySetByDigest(options.pool, standing.policySet);
  const policies = compiledFor(standing.policySet, document, run);
  if (policies === undefined) {
    const text = "the policies in force do not fit the tools of this release";
    return { ...common, decision: denial("undecidable", text), request: step.actionDigest };
  }
  const { decision, request: asked } = explain(policies, policyRequestOf(run, step, facts), approved);
  // Arguments that Cedar cannot hold are denied without being asked about; the action says what they were.
  return { ...common, decision, request: asked === undefined ? step.actionDigest : digestOf(requestJson(asked)) };
}

// Compiling hashes the whole set even where it is remembered, so the pair of digests is looked up first.
const compiled = new LRUCache<string, CompiledPolicies>({ max: 200 });

/** Undefined where the set cannot be compiled for the run's release, which may be older than the policies: nothing is permitted then. */
function compiledFor(policySet: Digest, document: Json, run: RunContext): CompiledPolicies | undefined {
  const name = `${policySet}/${run.release.digest}`;
  const known = compiled.get(name);
  if (known !== undefined) return known;
  try {
    const made = compilePolicies(parsePolicySet(document), run.release.document.tools);
    compiled.set(name, made);
    return made;
  } catch (error) {
    if (error instanceof PolicyError) return undefined;
    throw error;
  }
}

/** What the engine is asked about a step. */
export function policyRequestOf(run: RunContext, step: ResolvedStep, facts: RunFacts): PolicyRequest {
  const { document } = run.release;
  return {
    agent: {
      team: run.team,
      name: run.agent,
      release: run.release.digest,
      useCase: document.useCase,
      riskTier: document.riskTier,
    },
    run: {
      id: run.id,
      requestedBy: run.requestedBy,
      ...(run.input.subject === undefined ? {} : { subject: run.input.subject }),
    },
    step:
      step.kind === "model"
        ? { kind: "model", model: step.name, maxOutputTokens: document.model.maxOutputTokens }
        : { kind: "tool", tool: step.name, arguments: step.args },
    facts,
  };
}

function denial(code: DenialCode, text: string): Decision {
  return { outcome: "deny", code, policies: [{ policy: `gate:${code}`, text }] };
}

/** A denial that is the gate's own, after waiting. */
async function refuse(
  tx: Tx,
  options: GateOptions,
  request: DecisionRequest,
  code: DenialCode,
  text: string,
  approval: ApprovalId | undefined,
): Promise<Decided> {
  const judged = await judge(options, request, []);
  return write(tx, options, request, { ...judged, decision: denial(code, text) }, approval);
}

async function write(
  tx: Tx,
  options: GateOptions,
  request: DecisionRequest,
  judged: Judged,
  approval: ApprovalId | undefined,
): Promise<Decided> {
  const record = toRecord(options, request, judged, approval, denialPayload(options.keys, judged.decision));
  await Promise.all(writes(tx, record));
  return decided(record);
}

/** The decision with all that hangs on it; a denial's text is the step's result. Statements that need nothing of each other. */
function writes(tx: Tx, record: DecisionToRecord): readonly Promise<unknown>[] {
  return [
    ...(record.result === undefined ? [] : [writeSealed(tx, [record.result])]),
    writeDecision(tx, record),
    appendToOutbox(tx, decisionEvents(record)),
  ];
}

function decided({ decision }: DecisionToRecord): Decided {
  return decision.outcome === "deny" ? { status: "denied", text: denialText(decision) } : { status: "allowed" };
}

async function askPeople(tx: Tx, options: GateOptions, request: DecisionRequest, judged: Judged): Promise<Decided> {
  const { run, step } = request;
  if (judged.decision.outcome !== "require_approval")
    throw new TypeError("only a decision that asks for people opens a request");
  const { requirements } = judged.decision;
  const now = options.now();
  const rendered = renderAction(step.action);
  const sealed = sealPayload(options.keys, rendered);
  const expiresAt = new Date(now.getTime() + Math.min(...requirements.map((requirement) => requirement.expiresMs)));
  await writeSealed(tx, [sealed]);
  const id = await openRequest(tx, {
    run: run.id,
    seq: step.seq,
    team: run.team,
    action: step.actionDigest,
    name: step.name,
    rendered: sealed.digest,
    requirements,
    policySet: judged.policySet,
    openedAt: now,
    expiresAt,
  });
  const record = toRecord(options, request, judged, id, undefined);
  await writeDecision(tx, record);
  await appendToOutbox(tx, [...decisionEvents(record), requestedEvent(record, id, sealed.digest, expiresAt)]);
  return { status: "waiting", request: id, expiresAt: expiresAt.getTime() };
}

function requestedEvent(record: DecisionToRecord, id: ApprovalId, rendered: Digest, expiresAt: Date): LedgerEvent {
  const { decision, run, step, now } = record;
  const requirements = decision.outcome === "require_approval" ? decision.requirements : [];
  return runEvent(run, "approval.requested", `approval/${id}/requested`, now, {
    approval: id,
    seq: step.seq,
    action: step.actionDigest,
    rendered,
    groups: requirements.map((requirement) => `${requirement.group}:${requirement.quorum}`),
    expiresAt: expiresAt.toISOString(),
  });
}

function toRecord(
  options: GateOptions,
  { run, step, standing, activity }: DecisionRequest,
  judged: Judged,
  approval: ApprovalId | undefined,
  sealed: SealedPayload | undefined,
): DecisionToRecord {
  return { run, step, standing, activity, approval, result: sealed, now: options.now(), ...judged };
}

function denialPayload(keys: PayloadKeys, decision: Decision): SealedPayload | undefined {
  if (decision.outcome !== "deny") return undefined;
  const result: ToolResult = { status: "denied", code: decision.code, message: denialText(decision) };
  return sealPayload(keys, result as unknown as Json);
}

function denialText(decision: Extract<Decision, { outcome: "deny" }>): string {
  const texts = decision.policies.map((reason) => reason.text).filter((text) => text !== "");
  return texts.length > 0 ? texts.join("; ") : `denied: ${decision.code}`;
}
