import { ApiError } from "../../api/index.ts";
import type { PolicyProposalView } from "../../api/index.ts";
import { codeOf } from "../../core/errors.ts";
import type { Digest } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import {
  activatePolicySet,
  activePolicySet,
  approveProposal,
  countMembers,
  latestActivation,
  lockPolicies,
  openProposals,
  policyActivations,
  policyGuardOf,
  policySetByDigest,
  ProposalError,
  proposePolicySet,
  setPolicyGuard,
} from "../../registry/index.ts";
import type { PolicyProposal } from "../../registry/index.ts";
import { inTransaction } from "../../store/index.ts";
import type { Tx } from "../../store/index.ts";
import type { Handlers } from "../handler.ts";
import { policyActivated } from "../ledger-events.ts";
import { asPolicySet, assertPoliciesFit, lintFor, productionReleases } from "../policy-checks.ts";
import { policyGuarded, policyProposed, proposalApproved } from "../policy-events.ts";

const shownActivations = 100;

export const policyHandlers: Handlers<
  "activatePolicies" | "approveActivation" | "guardPolicies" | "showPolicies" | "policyHistory" | "policySet"
> = {
  async activatePolicies({ params: { team }, body }, { services, caller }) {
    const { id: by } = caller();
    const now = services.now();
    return inTransaction(services.pool, async (tx) => {
      // Before the guard and the releases are read: neither changes until this is committed.
      await lockPolicies(tx, team);
      const document =
        body.digest === undefined ? body.document : asPolicySet((await storedSet(tx, body.digest)).document);
      if (document === undefined) throw new ApiError("invalid_request", "expected `document` or `digest`");
      const releases = await productionReleases(tx, team);
      const warnings = [
        ...(await assertPoliciesFit(document, releases, "policies_invalid")),
        ...(await lintFor(document, releases)),
      ];
      const common = { team, policies: document.policies.length, warnings };
      const stored = document as unknown as Json;
      const guard = await policyGuardOf(tx, team);
      if (guard !== undefined) {
        const proposal = await proposePolicySet(tx, team, stored, guard, by, now);
        await appendToOutbox(tx, [policyProposed(proposal, now)]);
        return { ...common, policySet: proposal.policySet, changed: false, pending: viewOfProposal(proposal) };
      }
      const { digest, activation } = await activatePolicySet(tx, team, stored, by, now);
      if (activation !== undefined) await appendToOutbox(tx, [policyActivated(team, digest, activation, by, now)]);
      return { ...common, policySet: digest, changed: activation !== undefined, pending: null };
    });
  },

  async approveActivation({ params: { team, proposal: id } }, { services, caller }) {
    const principal = caller();
    const now = services.now();
    return inTransaction(services.pool, async (tx) => {
      const { proposal, activation } = await approveProposal(tx, id, principal, now).catch(asProposalRefusal);
      if (proposal.team !== team) throw new ApiError("proposal_not_found", `team \`${team}\` has no proposal ${id}`);
      await appendToOutbox(tx, [proposalApproved(proposal, principal.id, now)]);
      if (activation !== undefined) {
        // What was proposed may be older than the agents of today.
        const { document } = await policySetByDigest(tx, proposal.policySet);
        await assertPoliciesFit(asPolicySet(document), await productionReleases(tx, team), "policies_invalid");
        await appendToOutbox(tx, [policyActivated(team, proposal.policySet, activation, proposal.by, now)]);
      }
      return { proposal: viewOfProposal(proposal) };
    });
  },

  async guardPolicies({ params: { team }, body: { guard } }, { services, caller }) {
    const { id: by, roles } = caller();
    const now = services.now();
    return inTransaction(services.pool, async (tx) => {
      await lockPolicies(tx, team);
      if ((await policyGuardOf(tx, team)) !== undefined && !roles.includes("admin")) {
        throw new ApiError("forbidden", `the policies of team \`${team}\` are guarded: only an admin changes by whom`);
      }
      const waited = await openProposals(tx, team);
      const event = await setPolicyGuard(tx, team, guard, by, now);
      if (event !== undefined) await appendToOutbox(tx, [policyGuarded(team, event, guard, by, now)]);
      const open = new Set((await openProposals(tx, team)).map(({ id }) => id));
      return {
        team,
        guard: guard ?? null,
        members: guard === undefined ? null : await countMembers(tx, guard.approvers),
        voided: waited.map(({ id }) => id).filter((id) => !open.has(id)),
      };
    });
  },

  async showPolicies({ params: { team } }, { services }) {
    const active = await activePolicySet(services.pool, team);
    if (active === undefined) {
      throw new ApiError("policy_not_found", `team \`${team}\` has no policies in force`, {
        hint: `activate some: countersign policy activate DIR --team ${team}`,
      });
    }
    const latest = await latestActivation(services.pool, team);
    return {
      team,
      policySet: active.digest,
      at: latest?.at.toISOString() ?? null,
      by: latest?.by ?? null,
      document: asPolicySet(active.document),
      guard: (await policyGuardOf(services.pool, team)) ?? null,
    };
  },

  async policyHistory({ params: { team } }, { services: { pool } }) {
    const activations = await policyActivations(pool, team, shownActivations);
    const sets = new Map<Digest, number>();
    for (const { policySet } of activations) {
      if (sets.has(policySet)) continue;
      sets.set(policySet, asPolicySet((await policySetByDigest(pool, policySet)).document).policies.length);
    }
    return {
      team,
      activations: activations.map(({ policySet, at, by, proposal }) => {
        return { policySet, at: at.toISOString(), by, proposal, policies: sets.get(policySet) ?? 0 };
      }),
      proposals: (await openProposals(pool, team)).map(viewOfProposal),
    };
  },

  async policySet({ params: { digest } }, { services }) {
    const stored = await storedSet(services.pool, digest);
    return { policySet: stored.digest, document: asPolicySet(stored.document) };
  },
};

async function storedSet(tx: Tx, digest: Digest) {
  try {
    return await policySetByDigest(tx, digest);
  } catch (error) {
    if (codeOf(error) !== "policy_set_missing") throw error;
    throw new ApiError("policy_not_found", `no policy set \`${digest}\``, {
      hint: "see `countersign policy history TEAM`",
    });
  }
}

function viewOfProposal(proposal: PolicyProposal): PolicyProposalView {
  return { ...proposal, at: proposal.at.toISOString(), approvedBy: [...proposal.approvedBy] };
}

function asProposalRefusal(error: unknown): never {
  if (!(error instanceof ProposalError)) throw error;
  switch (error.code) {
    case "proposal_missing":
      throw new ApiError("proposal_not_found", error.message, { hint: "see `countersign policy history TEAM`" });
    case "proposal_closed":
      throw new ApiError("proposal_closed", error.message, { hint: "propose it again: countersign policy activate" });
    case "proposal_approved":
      throw new ApiError("already_decided", error.message);
    case "proposal_own":
    case "not_an_approver":
      throw new ApiError("not_eligible", error.message);
  }
}
