import { randomBytes } from "node:crypto";

import { ulid } from "ulid";

import {
  approveStanding,
  ordered,
  proposeStanding,
  readTerms,
  signText,
  standingById,
  standingFacts,
  standingKind,
  termsDigest,
  textOfSigned,
  toolDigest,
} from "../../src/approvals/index.ts";
import type { SignedStatement, StandingApproved, StandingGrant, StandingStatement } from "../../src/approvals/index.ts";
import type { ApprovalRequirement } from "../../src/core/decision.ts";
import type { ToolDefinition } from "../../src/core/release.ts";
import type { StandingTerms } from "../../src/core/standing-grant.ts";
import { appendToOutbox } from "../../src/ledger/index.ts";
import { standingApproved, standingProposed } from "../../src/server/standing-events.ts";
import { inTransaction } from "../../src/store/index.ts";
import type { World } from "./world.ts";

export type Granter = Awaited<ReturnType<World["reviewer"]>>;

export const dayMs = 86_400_000;

/** What `openPolicy` of the world asks for. */
export const onePerson: ApprovalRequirement = {
  policy: "pay-needs-a-person",
  group: "treasury",
  quorum: 1,
  expiresMs: 3_600_000,
};

export function payTool(world: World): ToolDefinition {
  return world.release.document.tools.find(({ name }) => name === "pay") as ToolDefinition;
}

/** A grant of three payments to ada, 100,000 in sum, changed as given. */
export function payTerms(world: World, change: Partial<StandingTerms> = {}): StandingTerms {
  const now = Date.now();
  return {
    v: 1,
    team: "testers",
    agent: "tester",
    tool: "pay",
    toolDigest: toolDigest(payTool(world)),
    requirements: ordered([onePerson]),
    targets: [{ argument: "to", is: "ada" }],
    unconstrained: ["slow_ms"],
    uses: 3,
    sum: { argument: "amount_cents", max: 100_000 },
    from: new Date(now - 60_000).toISOString(),
    until: new Date(now + 10 * dayMs).toISOString(),
    reason: "the same every day",
    ...change,
  };
}

export function signGrant(granter: Granter, grant: Parameters<typeof standingFacts>[0], change: object = {}) {
  const statement = textOfSigned({
    ...standingFacts(grant),
    reviewer: granter.id,
    nonce: randomBytes(18).toString("base64url"),
    issuedAt: new Date().toISOString(),
    ...change,
  } as StandingStatement);
  return { statement, signature: signText(standingKind.type, statement, granter.privateKey), keyId: granter.keyId };
}

export async function propose(
  world: World,
  terms: StandingTerms,
  by: Granter,
  now = new Date(),
): Promise<StandingGrant> {
  const { team, agent, tool } = terms;
  const expiresAt = new Date(Math.min(now.getTime() + dayMs, Date.parse(terms.until)));
  const row = { id: `sgr_${ulid()}`, team, agent, tool, termsDigest: termsDigest(terms), expiresAt };
  const signed = signGrant(by, row);
  return inTransaction(world.pool, async (tx) => {
    const made = await proposeStanding(tx, terms, payTool(world), signed, by.id, now);
    await appendToOutbox(tx, [standingProposed(made.grant), standingApproved(made, signed, by.id, now, 0)]);
    return made.grant;
  });
}

export async function approve(
  world: World,
  id: string,
  by: Granter,
  now = new Date(),
  sign: (statement: ReturnType<typeof signGrant>) => SignedStatement = (signed) => signed,
): Promise<StandingApproved> {
  const signed = sign(signGrant(by, await standingById(world.pool, id)));
  return inTransaction(world.pool, async (tx) => {
    const made = await approveStanding(tx, id, signed, by.id, now);
    await appendToOutbox(tx, [standingApproved(made, signed, by.id, now, 0)]);
    return made;
  });
}

/** Proposed and approved, by two people. */
export async function grantAhead(
  world: World,
  change: Partial<StandingTerms>,
  first: Granter,
  second: Granter,
): Promise<StandingGrant> {
  const terms = payTerms(world, change);
  if (readTerms(terms) === undefined) throw new Error("these are no terms");
  const { id } = await propose(world, terms, first);
  return (await approve(world, id, second)).grant;
}
