import type { Json } from "../../core/json.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import { activeShadow, policySetByDigest, setShadow, shadowCounts } from "../../registry/index.ts";
import { inTransaction } from "../../store/index.ts";
import type { Tx } from "../../store/index.ts";
import type { ResponseOf } from "../../api/index.ts";
import type { Handlers } from "../handler.ts";
import { asPolicySet, assertPoliciesFit, productionReleases } from "../policy-checks.ts";
import { policyShadowed } from "../policy-events.ts";

export const policyShadowHandlers: Handlers<"shadowPolicies" | "showShadow"> = {
  async shadowPolicies({ params: { team }, body: { document } }, { services, caller }) {
    const { id: by } = caller();
    const now = services.now();
    return inTransaction(services.pool, async (tx) => {
      if (document !== undefined)
        await assertPoliciesFit(document, await productionReleases(tx, team), "policies_invalid");
      const { id, policySet } = await setShadow(tx, team, document as unknown as Json | undefined, by, now);
      if (id !== undefined) await appendToOutbox(tx, [policyShadowed(team, id, policySet, by, now)]);
      return shadowOf(tx, team);
    });
  },

  async showShadow({ params: { team } }, { services }) {
    return shadowOf(services.pool, team);
  },
};

type Counts = ResponseOf<"showShadow">["counts"];

async function shadowOf(tx: Tx, team: string): Promise<ResponseOf<"showShadow">> {
  const shadow = await activeShadow(tx, team);
  if (shadow === undefined) return { team, shadow: null, counts: [] };
  const { policySet, at, by } = shadow;
  const { document } = await policySetByDigest(tx, policySet);
  const counts = (await shadowCounts(tx, shadow.id)).map(({ firstAt, lastAt, ...count }) => {
    return { ...count, firstAt: firstAt.toISOString(), lastAt: lastAt.toISOString() };
  });
  return {
    team,
    shadow: { policySet, at: at.toISOString(), by, document: asPolicySet(document) },
    counts: counts as Counts,
  };
}
