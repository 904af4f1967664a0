import { ApiError } from "../../api/index.ts";
import type { Json } from "../../core/json.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import { activatePolicySet, activePolicySet } from "../../registry/index.ts";
import { inTransaction } from "../../store/index.ts";
import type { Tx } from "../../store/index.ts";
import type { Handlers } from "../handler.ts";
import { policyActivated } from "../ledger-events.ts";
import { asPolicySet, assertPoliciesFit, productionReleases } from "../policy-checks.ts";

export const policyHandlers: Handlers<"activatePolicies" | "showPolicies"> = {
  async activatePolicies({ params: { team }, body: { document } }, { services, caller }) {
    const { id: by } = caller();
    const now = services.now();
    return inTransaction(services.pool, async (tx) => {
      const warnings = assertPoliciesFit(document, await productionReleases(tx, team), "policies_invalid");
      const { digest, activation } = await activatePolicySet(tx, team, document as unknown as Json, by, now);
      if (activation !== undefined) await appendToOutbox(tx, [policyActivated(team, digest, activation, by, now)]);
      return {
        team,
        policySet: digest,
        policies: document.policies.length,
        changed: activation !== undefined,
        warnings: [...warnings],
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
      by: latest?.by_principal ?? null,
      document: asPolicySet(active.document),
    };
  },
};

async function latestActivation(tx: Tx, team: string): Promise<{ at: Date; by_principal: string } | undefined> {
  const { rows } = await tx.query<{ at: Date; by_principal: string }>(
    "select at, by_principal from policy_activation where team = $1 order by id desc limit 1",
    [team],
  );
  return rows[0];
}
