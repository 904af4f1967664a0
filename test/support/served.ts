import { onTestFinished } from "vitest";

import { resolutionKind, signStatement, signText, statementText, textOfSigned } from "../../src/approvals/index.ts";
import type { ResolutionStatement, UnknownOutcome } from "../../src/approvals/index.ts";
import type { ApprovalId } from "../../src/core/ids.ts";
import { hashToken, newToken, putPrincipal } from "../../src/registry/index.ts";
import { sequencedLedger, signerOf, testServer } from "./test-server.ts";
import type { World } from "./world.ts";

type Http = Awaited<ReturnType<typeof serve>>["http"];

/** The server with a sequencer beside it, on a clock of the test's own. */
export async function serve(world: World, now: () => Date = () => new Date()) {
  const server = testServer({
    pool: world.pool,
    databaseUrl: world.databaseUrl,
    keys: world.keys,
    temporal: world.client,
    taskQueue: world.taskQueue,
    ledger: sequencedLedger(world.pool),
    now,
  });
  onTestFinished(() => server.stop());
  return { http: await server.http(), verifierKey: signerOf("testers").verifierKey };
}

/** A reviewer who is an auditor too, over HTTP. */
export async function caller(world: World, http: Http, id: string, groups: readonly string[]) {
  const token = newToken();
  const reviewer = await world.reviewer(id, groups);
  const { keyId, privateKey } = reviewer;
  await putPrincipal(world.pool, { id, displayName: id, roles: ["reviewer", "auditor"], groups }, hashToken(token));
  const send = async (method: "GET" | "POST", url: string, payload?: object): Promise<unknown> => {
    const headers = { authorization: `Bearer ${token}` };
    const answer = await http.inject({ method, url, headers, ...(payload === undefined ? {} : { payload }) });
    const body = answer.json<{ error?: unknown }>();
    return body.error ?? body;
  };
  return {
    id,
    keyId,
    send,
    /** Changes a call in the database and the ledger: the run is not told. */
    edit: (...change: Parameters<typeof reviewer.edit>) => reviewer.edit(...change),
    /** Says over the API what became of a call. */
    async resolve(outcome: UnknownOutcome, said: ResolutionStatement["outcome"], reason: string): Promise<unknown> {
      const url = `/v1/runs/${outcome.run}/steps/${outcome.seq}/outcome`;
      const detail = (await send("GET", url)) as { statement: object };
      const issuedAt = new Date().toISOString();
      const facts = { ...detail.statement, outcome: said, reviewer: id, reason, issuedAt };
      const statement = textOfSigned(facts as ResolutionStatement);
      return send("POST", url, { statement, signature: signText(resolutionKind.type, statement, privateKey), keyId });
    },
    async decide(approval: ApprovalId, decision: "approve" | "deny" = "approve"): Promise<unknown> {
      const detail = (await send("GET", `/v1/approvals/${approval}`)) as { statement: object };
      const statement = statementText({
        ...(detail.statement as Parameters<typeof statementText>[0]),
        decision,
        reviewer: id,
        reason: "",
        issuedAt: new Date().toISOString(),
      });
      const body = { statement, signature: signStatement(statement, privateKey), keyId };
      return send("POST", `/v1/approvals/${approval}/decisions`, body);
    },
  };
}
