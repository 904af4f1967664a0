import { z } from "zod";

import { historyScopes } from "../core/decision.ts";
import type { HistoryFact } from "../core/decision.ts";
import { count, digest, name, principalId, runId, time, teamName } from "./common.schema.ts";

/** As `src/policy` has it: the rooms do not know each other. */
export type PolicySetDocument = {
  readonly v: 1;
  readonly policies: readonly { readonly id: string; readonly text: string }[];
  readonly history?: readonly HistoryFact[];
};

/** What it may say exactly, the policy room knows. */
const historyFact = z.strictObject({
  name: z.string().max(63),
  measure: z.enum(["count", "sum"]),
  actions: z.array(z.string().max(128)).max(20),
  argument: z.exactOptional(z.string().max(128)),
  per: z.enum(historyScopes),
  withinMs: z.exactOptional(z.int().min(1)),
});

export const policySetDocument: z.ZodType<PolicySetDocument, PolicySetDocument> = z
  .strictObject({
    v: z.literal(1),
    policies: z.array(z.strictObject({ id: z.string().max(128), text: z.string().max(65_536) })).max(5_000),
    history: z.exactOptional(z.array(historyFact).max(50)),
  })
  .meta({ id: "PolicySetDocument" });

export const teamParams = z.object({ team: teamName });
export const proposalParams = z.object({ team: teamName, proposal: count });

/** A set that is given, or one that the server has, by its digest. */
export const activatePolicyBody = z
  .strictObject({ document: policySetDocument.optional(), digest: digest.optional() })
  .refine((body) => (body.document === undefined) !== (body.digest === undefined), "expected `document` or `digest`");

const group = z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/, "expected lower-case letters, digits, _ and -");

export const policyProposal = z
  .object({
    id: z.int(),
    team: name,
    policySet: digest,
    approvers: z.string(),
    quorum: z.int(),
    at: time,
    by: principalId,
    approvedBy: z.array(principalId),
    state: z.enum(["open", "in_force", "void"]),
  })
  .meta({ id: "PolicyProposal" });
export type PolicyProposalView = z.output<typeof policyProposal>;

export const activatedPolicy = z.object({
  team: name,
  policySet: digest,
  policies: z.int(),
  /** False: it was in force already, or waits for approval. */
  changed: z.boolean(),
  warnings: z.array(z.string()),
  /** It comes into force once enough approvers agree. */
  pending: policyProposal.nullable(),
});
export const activePolicy = z.object({
  team: name,
  policySet: digest,
  at: time.nullable(),
  by: principalId.nullable(),
  document: policySetDocument,
  guard: z.object({ approvers: z.string(), quorum: z.int() }).nullable(),
});
export const storedPolicySet = z.object({ policySet: digest, document: policySetDocument });

export const policyHistory = z.object({
  team: name,
  activations: z.array(
    z.object({ policySet: digest, at: time, by: principalId, proposal: z.int().nullable(), policies: z.int() }),
  ),
  proposals: z.array(policyProposal),
});

/** Absent: there is to be none. */
export const guardBody = z.strictObject({
  guard: z.strictObject({ approvers: group, quorum: z.int().min(1).max(100) }).optional(),
});
export const guardView = z.object({
  team: name,
  guard: z.object({ approvers: z.string(), quorum: z.int() }).nullable(),
  members: z.int().nullable().describe("how many people are in the group now"),
  voided: z.array(z.int()).describe("activations that waited under the guard of before, and can be approved no more"),
});
export const approvedProposal = z.object({ proposal: policyProposal });

const changeKind = z.enum(["newly_denied", "newly_gated", "newly_allowed", "altered", "unchanged"]);

/** Absent: no candidate is to decide any more. */
export const shadowBody = z.strictObject({ document: policySetDocument.optional() });
export const shadowView = z.object({
  team: name,
  /** Null: no candidate decides. */
  shadow: z.object({ policySet: digest, at: time, by: principalId, document: policySetDocument }).nullable(),
  /** How often each kind of difference was seen; `error` and `skipped` are of the candidate's own deciding. */
  counts: z.array(
    z.object({
      kind: z.enum([...changeKind.options, "error", "skipped"]),
      policy: z.string(),
      name: z.string(),
      count: z.int(),
      firstAt: time,
      lastAt: time,
    }),
  ),
});

export const backtestBody = z.strictObject({
  document: policySetDocument,
  /** Compared with what this set would have decided; absent: with what was decided. */
  against: policySetDocument.optional(),
  since: time.optional(),
});

const verdict = z.object({ outcome: z.enum(["allow", "deny", "require_approval"]), policies: z.array(z.string()) });

export const backtestReport = z
  .object({
    decisions: z.int(),
    runs: z.int(),
    counts: z.record(changeKind, z.int()),
    byTheGate: z.int().describe("denied by the gate itself, whatever policies say"),
    lost: z.int().describe("could not be decided again"),
    lostBecause: z.record(z.string(), z.int()),
    causes: z.array(z.object({ kind: changeKind, policy: z.string(), count: z.int() })),
    examples: z.array(
      z.object({
        kind: changeKind,
        run: runId,
        seq: z.int(),
        n: z.int(),
        name: z.string(),
        from: verdict,
        to: verdict,
      }),
    ),
    milliseconds: z.int(),
  })
  .meta({ id: "BacktestReport" });
export type BacktestReportView = z.output<typeof backtestReport>;

export const backtestEvent = z.discriminatedUnion("type", [
  z.object({ type: z.literal("progress"), done: z.int(), total: z.int() }),
  z.object({ type: z.literal("report"), report: backtestReport }),
]);
export type BacktestEvent = z.output<typeof backtestEvent>;
