import { randomBytes } from "node:crypto";

import { ulid } from "ulid";

import { ApiError } from "../../api/index.ts";
import type { ResponseOf, StandingGrantView } from "../../api/index.ts";
import {
  approveStanding,
  countPasskeyUse,
  kindOf,
  listStanding,
  proposeStanding,
  revokeStanding,
  standingApprovals,
  standingById,
  standingFacts,
  standingIdPattern,
  standingState,
  standingWaitMs,
  termsDigest,
} from "../../approvals/index.ts";
import type { StandingGrant } from "../../approvals/index.ts";
import { peopleLog } from "../../core/ids.ts";
import { appendToOutbox, logSize } from "../../ledger/index.ts";
import { inTransaction } from "../../store/index.ts";
import type { Tx } from "../../store/index.ts";
import type { Services } from "../dependencies.ts";
import { checkedTerms, draftTerms } from "../draft-standing.ts";
import type { Handlers } from "../handler.ts";
import { standingApproved, standingProposed, standingRevoked } from "../standing-events.ts";

export const standingHandlers: Handlers<
  "draftStanding" | "proposeStanding" | "listStanding" | "showStanding" | "approveStanding" | "revokeStanding"
> = {
  async draftStanding({ body }, { services }) {
    const now = services.now();
    const terms = await draftTerms(services.pool, body, now);
    const { team, agent, tool } = terms;
    const expiresAt = new Date(Math.min(now.getTime() + standingWaitMs, Date.parse(terms.until)));
    const row = { id: `sgr_${ulid(now.getTime())}`, team, agent, tool, termsDigest: termsDigest(terms), expiresAt };
    return { terms: viewOfTerms(terms), statement: templateOf(row) };
  },

  async proposeStanding({ body }, { services, caller }) {
    const { id: reviewer } = caller();
    const { terms: document, request, ...signed } = body;
    const now = services.now();
    return inTransaction(services.pool, async (tx) => {
      const { terms, tool } = await checkedTerms(tx, document, request);
      const made = await proposeStanding(tx, terms, tool, signed, reviewer, now);
      if (signed.kind === "webauthn") await countPasskeyUse(tx, signed.keyId, signed);
      const keysSize = await logSize(tx, peopleLog);
      await appendToOutbox(tx, [standingProposed(made.grant), standingApproved(made, signed, reviewer, now, keysSize)]);
      return detailOf(services, tx, made.grant.id, now);
    });
  },

  async listStanding({ query: { cursor, limit, all, ...filter } }, { services, caller }) {
    if (cursor !== undefined && !standingIdPattern.test(cursor))
      throw new ApiError("invalid_cursor", "the cursor is not one of this list");
    const now = services.now();
    const openAt = all === "true" ? undefined : now;
    const team = filter.team ?? caller().teams;
    const rows = await listStanding(services.pool, { ...filter, team, openAt, before: cursor, limit: limit + 1 });
    const page = rows.slice(0, limit);
    return {
      grants: page.map((grant) => viewOf(grant, now)),
      next: rows.length > limit ? (page.at(-1)?.id ?? null) : null,
    };
  },

  async showStanding({ params: { grant } }, { services }) {
    return detailOf(services, services.pool, grant, services.now());
  },

  async approveStanding({ params: { grant: id }, body }, { services, caller }) {
    const { id: reviewer } = caller();
    const now = services.now();
    return inTransaction(services.pool, async (tx) => {
      const approved = await approveStanding(tx, id, body, reviewer, now);
      if (body.kind === "webauthn") await countPasskeyUse(tx, body.keyId, body);
      const keysSize = await logSize(tx, peopleLog);
      await appendToOutbox(tx, [standingApproved(approved, body, reviewer, now, keysSize)]);
      return detailOf(services, tx, id, now);
    });
  },

  async revokeStanding({ params: { grant: id } }, { services, caller }) {
    const by = caller();
    return inTransaction(services.pool, async (tx) => {
      const { grant, changed } = await revokeStanding(tx, id, by, () => services.now());
      if (changed) await appendToOutbox(tx, [standingRevoked(grant, by.id)]);
      return { grant: viewOf(grant, services.now()), changed };
    });
  },
};

async function detailOf(services: Services, tx: Tx, id: string, now: Date): Promise<ResponseOf<"showStanding">> {
  const grant = await standingById(tx, id);
  const approvals = await standingApprovals(tx, id);
  return {
    grant: viewOf(grant, now),
    approvals: approvals.map(({ reviewer, groups, at, mandate, ...signed }) => ({
      reviewer,
      groups: [...groups],
      at: at.toISOString(),
      kind: kindOf(signed),
      insteadOf: mandate?.delegator ?? null,
    })),
    statement: templateOf(grant),
    page: new URL(`/grants/${id}`, services.site().origin).href,
  };
}

function templateOf(grant: Parameters<typeof standingFacts>[0]) {
  return { ...standingFacts(grant), nonce: randomBytes(18).toString("base64url") };
}

function viewOf(grant: StandingGrant, now: Date): StandingGrantView {
  const { id, terms, termsDigest: digest, proposedBy, revokedBy, used } = grant;
  return {
    id,
    state: standingState(grant, now),
    terms: viewOfTerms(terms),
    termsDigest: digest,
    proposedBy,
    proposedAt: grant.proposedAt.toISOString(),
    expiresAt: grant.expiresAt.toISOString(),
    activeAt: grant.activeAt?.toISOString() ?? null,
    revokedAt: grant.revokedAt?.toISOString() ?? null,
    revokedBy,
    uses: used.n,
    total: used.total,
    lastUsedAt: grant.lastUsedAt?.toISOString() ?? null,
  };
}

function viewOfTerms({ requirements, targets, unconstrained, ...terms }: StandingGrant["terms"]) {
  return {
    ...terms,
    requirements: requirements.map((one) => ({ ...one })),
    targets: [...targets],
    unconstrained: [...unconstrained],
  };
}
