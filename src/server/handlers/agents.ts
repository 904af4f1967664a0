import { ApiError } from "../../api/index.ts";
import type { AgentSummary } from "../../api/index.ts";
import type { Digest } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import type { Release } from "../../core/release.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import {
  activatePolicySet,
  activePolicySet,
  channelEvents,
  listAgents,
  lockPolicies,
  moveChannel,
  registerRelease,
  releaseByDigest,
  releaseOfDocument,
} from "../../registry/index.ts";
import type { AgentRow } from "../../registry/index.ts";
import { inTransaction } from "../../store/index.ts";
import type { Tx } from "../../store/index.ts";
import type { Handlers } from "../handler.ts";
import { channelMoved, policyActivated, releaseRegistered } from "../ledger-events.ts";
import { asPolicySet, assertPoliciesFit, releasesWith, shippedPolicies } from "../policy-checks.ts";

export const agentHandlers: Handlers<"registerAgent" | "listAgents" | "showAgent"> = {
  async registerAgent({ body: { document } }, { services, caller }) {
    const release = releaseOfDocument(document);
    const { id: by } = caller();
    const now = services.now();
    return inTransaction(services.pool, async (tx) => {
      // Before the policies in force are read: no others come into force until the release is there for them to be checked against.
      await lockPolicies(tx, document.team);
      const policies = await policiesFor(tx, release, by, now);
      const created = await registerRelease(tx, release, by, now);
      if (created) await appendToOutbox(tx, [releaseRegistered(release, by, now)]);
      const { team, agent } = document;
      const move = {
        team,
        agent,
        channel: "production",
        release: release.digest,
        by,
        reason: "registered",
        now,
      } as const;
      const moved = await moveChannel(tx, move);
      if (moved !== undefined) await appendToOutbox(tx, [channelMoved(release, "production", moved, by, now)]);
      return { team, agent, release: release.digest, created, ...policies };
    });
  },

  async listAgents(_request, { services, caller }) {
    return { agents: (await listAgents(services.pool, caller().teams)).map(viewOfAgent) };
  },

  async showAgent({ params: { team, agent } }, { services }) {
    const row = (await listAgents(services.pool, team)).find((candidate) => candidate.agent === agent);
    if (row === undefined) throw agentNotFound(team, agent);
    const { production } = row.channels;
    const [release, events] = await Promise.all([
      production === undefined ? undefined : releaseByDigest(services.pool, production),
      channelEvents(services.pool, team, agent),
    ]);
    const history = events.map((event) => ({
      release: event.release,
      channel: event.channel,
      at: event.at.toISOString(),
      by: event.by,
      reason: event.reason,
    }));
    return { ...viewOfAgent(row), production: release ?? null, history };
  },
};

export function agentNotFound(team: string, agent: string): ApiError {
  return new ApiError("agent_not_found", `team \`${team}\` has no agent \`${agent}\``, {
    hint: "see `countersign agent list`, or register it: countersign agent register FILE",
  });
}

/** The policies that the release will run under: those in force if they fit, or those that ship where there are none. */
async function policiesFor(
  tx: Tx,
  release: Release,
  by: string,
  now: Date,
): Promise<{ policySet: Digest; policiesActivated: boolean }> {
  const { team } = release.document;
  const releases = await releasesWith(tx, release.document);
  const active = await activePolicySet(tx, team);
  if (active !== undefined) {
    await assertPoliciesFit(asPolicySet(active.document), releases, "policies_do_not_fit");
    return { policySet: active.digest, policiesActivated: false };
  }
  const shipped = await shippedPolicies();
  await assertPoliciesFit(shipped, releases, "policies_do_not_fit");
  const { digest, activation } = await activatePolicySet(tx, team, shipped as unknown as Json, by, now);
  if (activation !== undefined) await appendToOutbox(tx, [policyActivated(team, digest, activation, by, now)]);
  return { policySet: digest, policiesActivated: activation !== undefined };
}

function viewOfAgent(row: AgentRow): AgentSummary {
  const { team, agent, channels, releases, registeredAt } = row;
  return { team, agent, channels, releases, registeredAt: registeredAt.toISOString() };
}
