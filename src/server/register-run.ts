import { monotonicFactory } from "ulid";

import { ApiError } from "../api/index.ts";
import type { RequestOf } from "../api/index.ts";
import { codeOf } from "../core/errors.ts";
import type { Digest, RunId } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import type { Release } from "../core/release.ts";
import type { RunInput } from "../core/run.ts";
import { listAgents, releaseByDigest, resolveChannel } from "../registry/index.ts";
import { createRun, digestOf, inTransaction, putPayloads, runById, subjectKey } from "../store/index.ts";
import type { RunRow, Tx } from "../store/index.ts";
import type { Services } from "./dependencies.ts";
import { agentNotFound } from "./handlers/agents.ts";

type StartRunBody = RequestOf<"startRun">["body"];

const nextUlid = monotonicFactory();
const uniqueViolation = "23505";

/**
 * Writes the row that gives a run its authority, with its input, in one transaction. With a key that this principal has used for the
 * same request, the run of then. Throws `idempotency_conflict` where the request was another.
 */
export async function registerRun(
  services: Services,
  by: string,
  body: StartRunBody,
  key: string | undefined,
): Promise<RunRow> {
  if (key === undefined) return inTransaction(services.pool, (tx) => insertRun(tx, services, by, body));
  const request = digestOf(body as unknown as Json);
  const known = await runOfKey(services.pool, by, key, request);
  if (known !== undefined) return known;
  try {
    return await inTransaction(services.pool, async (tx) => {
      const row = await insertRun(tx, services, by, body);
      await tx.query("insert into idempotency_key (principal, key, request, run, at) values ($1, $2, $3, $4, $5)", [
        by,
        key,
        request,
        row.id,
        services.now(),
      ]);
      return row;
    });
  } catch (error) {
    // The same request came twice at once; the other one was first.
    const first = codeOf(error) === uniqueViolation ? await runOfKey(services.pool, by, key, request) : undefined;
    if (first === undefined) throw error;
    return first;
  }
}

async function runOfKey(tx: Tx, by: string, key: string, request: Digest): Promise<RunRow | undefined> {
  const { rows } = await tx.query<{ run: RunId; request: Digest }>(
    "select run, request from idempotency_key where principal = $1 and key = $2",
    [by, key],
  );
  const known = rows[0];
  if (known === undefined) return undefined;
  if (known.request !== request) {
    throw new ApiError(
      "idempotency_conflict",
      `the Idempotency-Key was used for another request, which started ${known.run}`,
      {
        hint: "use a new key for a new run",
      },
    );
  }
  return runById(tx, known.run);
}

async function insertRun(tx: Tx, services: Services, by: string, body: StartRunBody): Promise<RunRow> {
  const release = await releaseToRun(tx, body);
  const input: RunInput = {
    prompt: body.prompt,
    ...(body.subject === undefined ? {} : { subject: withoutUndefined(body.subject) }),
    ...(body.tags === undefined ? {} : { tags: body.tags }),
  };
  const [digest] = await putPayloads(tx, services.keys, [input as unknown as Json]);
  const now = services.now();
  const id = `run_${nextUlid(now.getTime())}` as RunId;
  await createRun(tx, {
    id,
    team: body.team,
    agent: body.agent,
    release: release.digest,
    input: digest as Digest,
    requestedBy: by,
    limits: release.document.limits,
    ...(input.subject === undefined ? {} : { subjectKey: subjectKey(services.keys, input.subject.id) }),
    now,
  });
  return (await runById(tx, id)) as RunRow;
}

async function releaseToRun(tx: Tx, body: StartRunBody): Promise<Release> {
  const { team, agent } = body;
  const channel = body.channel ?? "production";
  const digest = body.release ?? (await resolveChannel(tx, team, agent, channel));
  if (digest === undefined) {
    const agents = await listAgents(tx, team);
    if (!agents.some((row) => row.agent === agent)) throw agentNotFound(team, agent);
    throw new ApiError(
      "release_not_found",
      `channel \`${channel}\` of agent \`${team}/${agent}\` points at no release`,
    );
  }
  const release = await releaseByDigest(tx, digest);
  if (release.document.team !== team || release.document.agent !== agent) {
    throw new ApiError("release_not_found", `release \`${digest}\` is not one of agent \`${team}/${agent}\``);
  }
  return release;
}

function withoutUndefined(subject: { id: string; email?: string | undefined }): { id: string; email?: string } {
  return subject.email === undefined ? { id: subject.id } : { id: subject.id, email: subject.email };
}
