import { randomBytes } from "node:crypto";

import { ApiError } from "../../api/index.ts";
import type { GrantView } from "../../api/index.ts";
import {
  decideGrant,
  grantById,
  grantFacts,
  grantVotes,
  listGrants,
  proposeGrant,
  renderGrant,
  revokeGrant,
  sumSchema,
  whereSchema,
} from "../../approvals/index.ts";
import type { ApprovalRequest, GrantRow } from "../../approvals/index.ts";
import { isBudgetPolicy } from "../../core/budget.ts";
import { grantIdPattern } from "../../core/ids.ts";
import type { GrantId } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import type { StandingGrant } from "../../core/standing-grant.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import { parsePolicySet } from "../../policy/index.ts";
import { policySetByDigest, releaseByDigest } from "../../registry/index.ts";
import { digestOf, inTransaction, sha256 } from "../../store/index.ts";
import type { Tx } from "../../store/index.ts";
import type { Handlers } from "../handler.ts";
import { grantEvent } from "../ledger-events.ts";
import { existingRequest } from "./approvals.ts";
import { existingRun } from "./runs.ts";

export const grantHandlers: Handlers<"proposeGrant" | "listGrants" | "showGrant" | "decideGrant" | "revokeGrant"> = {
  async proposeGrant({ body }, { services, caller }) {
    const { pool } = services;
    const { id: by } = caller();
    const request = await existingRequest(pool, body.request);
    const bounds = boundsOf(body);
    const document: StandingGrant = {
      v: 1,
      ...(await subjectOf(pool, request)),
      ...bounds,
      maxUses: body.maxUses,
      expiresAt: body.expiresAt,
      request: request.id,
      proposedBy: by,
    };
    const now = services.now();
    const grant = await inTransaction(pool, async (tx) => {
      const row = await proposeGrant(tx, document, now);
      await appendToOutbox(tx, [grantEvent(row, "grant.proposed", by, now, {})]);
      return row;
    });
    return { grant: await viewOf(pool, grant, now) };
  },

  async listGrants({ query }, { services }) {
    const { cursor, limit, team } = query;
    if (cursor !== undefined && !grantIdPattern.test(cursor))
      throw new ApiError("invalid_cursor", "the cursor is not one of this list");
    const rows = await listGrants(services.pool, { team, before: cursor as GrantId | undefined, limit: limit + 1 });
    const page = rows.slice(0, limit);
    const grants = await Promise.all(page.map((row) => viewOf(services.pool, row, services.now())));
    return { grants, next: rows.length > limit ? (page.at(-1)?.id ?? null) : null };
  },

  async showGrant({ params: { grant } }, { services }) {
    const row = await existingGrant(services.pool, grant);
    return {
      grant: await viewOf(services.pool, row, services.now()),
      statement: { ...grantFacts(row), nonce: randomBytes(18).toString("base64url") },
    };
  },

  async decideGrant({ params, body }, { services, caller }) {
    const { id: reviewer } = caller();
    const now = services.now();
    await inTransaction(services.pool, async (tx) => {
      const { grant, statement } = await decideGrant(tx, body, reviewer, now);
      if (grant.id !== params.grant) throw new ApiError("statement_invalid", "the statement is about another grant");
      const kind = statement.decision === "approve" ? "grant.approved" : "grant.denied";
      const { keyId, signature } = body;
      const facts = { keyId, signature, statement: sha256(body.statement), state: grant.state };
      await appendToOutbox(tx, [grantEvent(grant, kind, reviewer, now, facts)]);
    });
    return { grant: await viewOf(services.pool, await existingGrant(services.pool, params.grant), now) };
  },

  async revokeGrant({ params, body }, { services, caller }) {
    const { id: by, roles, groups } = caller();
    const now = services.now();
    await inTransaction(services.pool, async (tx) => {
      const grant = await existingGrant(tx, params.grant, true);
      const own = grant.document.requirements.some(({ group }) => groups.includes(group));
      // To stop something is easier than to allow it.
      if (!own && by !== grant.document.proposedBy && !roles.includes("admin") && !roles.includes("operator"))
        throw new ApiError("not_eligible", "it takes who proposed it, one of its approvers' groups, or an operator");
      if (!(await revokeGrant(tx, grant.id, by, body.reason, now)))
        throw new ApiError("approval_closed", `the grant is ${grant.state}`);
      await appendToOutbox(tx, [grantEvent(grant, "grant.revoked", by, now, {})]);
    });
    return { grant: await viewOf(services.pool, await existingGrant(services.pool, params.grant), now) };
  },
};

function boundsOf(body: { readonly where: unknown; readonly sum?: unknown }): Pick<StandingGrant, "where" | "sum"> {
  const where = whereSchema.safeParse(body.where);
  if (!where.success) {
    const [issue] = where.error.issues;
    throw new ApiError("invalid_request", `body \`where.${issue?.path.join(".") ?? ""}\`: ${issue?.message ?? "?"}`, {
      hint: 'such as {"to": {"equals": "ada"}}, {"to": {"domain": "example.com"}} or {"url": {"prefix": "https://example.com/"}}',
    });
  }
  return { where: where.data, ...(body.sum === undefined ? {} : { sum: sumSchema.parse(body.sum) }) };
}

/** Of whom and of what: taken from a request, so that its approvers decide on the grant too. */
async function subjectOf(
  tx: Tx,
  request: ApprovalRequest,
): Promise<Pick<StandingGrant, "team" | "agent" | "tool" | "toolDigest" | "requirements">> {
  const run = await existingRun(tx, request.run);
  const [release, policySet] = await Promise.all([
    releaseByDigest(tx, run.release),
    policySetByDigest(tx, request.policySet),
  ]);
  const tool = release.document.tools.find(({ name }) => name === request.name);
  const { policies } = parsePolicySet(policySet.document);
  const requirements = request.requirements.map(({ policy, group, quorum }) => {
    const text = policies.find(({ id }) => id === policy)?.text;
    return text === undefined || isBudgetPolicy(policy) ? undefined : { policy, text: sha256(text), group, quorum };
  });
  if (tool === undefined || requirements.includes(undefined)) {
    throw new ApiError("not_grantable", "only what policies ask about a tool's call can be granted in advance", {
      hint: "a budget is raised with: countersign budget set",
    });
  }
  return {
    team: request.team,
    agent: run.agent,
    tool: tool.name,
    toolDigest: digestOf(tool as unknown as Json),
    requirements: requirements.filter((one) => one !== undefined),
  };
}

async function existingGrant(tx: Tx, id: GrantId, lock = false): Promise<GrantRow> {
  const grant = await grantById(tx, id, lock);
  if (grant === undefined) {
    throw new ApiError("grant_not_found", `no standing grant \`${id}\``, {
      hint: "see `countersign approvals grant list`",
    });
  }
  return grant;
}

async function viewOf(tx: Tx, row: GrantRow, now: Date): Promise<GrantView> {
  const { id, document, state, uses, sum, revokedBy } = row;
  const votes = await grantVotes(tx, id);
  const over = (state === "active" || state === "proposed") && now >= new Date(document.expiresAt);
  return {
    id,
    team: document.team,
    agent: document.agent,
    tool: document.tool,
    state: over ? "expired" : state,
    rendered: renderGrant(document),
    document: document as unknown as Json,
    uses,
    maxUses: document.maxUses,
    sum,
    maxSum: document.sum?.max ?? null,
    proposedBy: document.proposedBy,
    proposedAt: row.proposedAt.toISOString(),
    expiresAt: document.expiresAt,
    revokedBy,
    decidedBy: votes.map(({ reviewer, decision, at }) => ({ reviewer, decision, at: at.toISOString() })),
  };
}
