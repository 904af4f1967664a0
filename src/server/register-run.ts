import { monotonicFactory } from "ulid";

import { ApiError } from "../api/index.ts";
import type { RequestOf } from "../api/index.ts";
import { codeOf } from "../core/errors.ts";
import type { Digest, RunId } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import type { Release } from "../core/release.ts";
import type { RunInput } from "../core/run.ts";
import { listAgents, releaseByDigest, resolveChannel } from "../registry/index.ts";
import {
  canonicalText,
  createRun,
  dataKeyOf,
  digestOf,
  holdDataKey,
  inTransaction,
  keyedDigest,
  newRunKey,
  putPayloads,
  runById,
  subjectKey,
} from "../store/index.ts";
import type { DataKey, RunRow, Tx } from "../store/index.ts";
import type { Services } from "./dependencies.ts";
import { agentNotFound } from "./handlers/agents.ts";
import { assertCovered } from "./policy-checks.ts";

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
  if (key === undefined) return underDataKey(services, body, (tx, under) => insertRun(tx, services, by, body, under));
  // Not a bare digest: the prompt could be guessed from it when its contents are erased. Requests of before have one.
  const request = keyedDigest(services.keys, "request", canonicalText(body as unknown as Json));
  const before = digestOf(body as unknown as Json);
  const known = await runOfKey(services.pool, by, key, [request, before]);
  if (known !== undefined) return known;
  try {
    return await underDataKey(services, body, async (tx, under) => {
      const row = await insertRun(tx, services, by, body, under);
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
    const first =
      codeOf(error) === uniqueViolation ? await runOfKey(services.pool, by, key, [request, before]) : undefined;
    if (first === undefined) throw error;
    return first;
  }
}

async function runOfKey(tx: Tx, by: string, key: string, requests: readonly Digest[]): Promise<RunRow | undefined> {
  const { rows } = await tx.query<{ run: RunId; request: Digest }>(
    "select run, request from idempotency_key where principal = $1 and key = $2",
    [by, key],
  );
  const known = rows[0];
  if (known === undefined) return undefined;
  if (!requests.includes(known.request)) {
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

/** The data key was destroyed between its look-up and the run's row. */
class KeyDestroyed extends Error {}

type Under = { readonly release: Release; readonly dataKey: DataKey; readonly subject: string };

/** `write` in a transaction, with the release to run and the data key of whom the run is for; once more where an erasure came in between. */
async function underDataKey(
  services: Services,
  body: StartRunBody,
  write: (tx: Tx, under: Under) => Promise<RunRow>,
): Promise<RunRow> {
  const { pool, keys, now } = services;
  // What is refused leaves nothing behind, not even a key.
  const release = await releaseToRun(pool, body);
  await assertCovered(pool, release);
  const subject = body.subject === undefined ? "" : subjectKey(keys, body.subject.id);
  for (let again = false; ; again = true) {
    // Before the transaction: whoever wraps keys may be far away.
    const dataKey = await dataKeyOf(pool, keys, subject, now());
    try {
      return await inTransaction(pool, (tx) => write(tx, { release, dataKey, subject }));
    } catch (error) {
      if (!(error instanceof KeyDestroyed) || again) throw error;
    }
  }
}

async function insertRun(tx: Tx, services: Services, by: string, body: StartRunBody, under: Under): Promise<RunRow> {
  const { release } = under;
  const input: RunInput = {
    prompt: body.prompt,
    ...(body.subject === undefined ? {} : { subject: withoutUndefined(body.subject) }),
    ...(body.tags === undefined ? {} : { tags: body.tags }),
  };
  const now = services.now();
  const id = `run_${nextUlid(now.getTime())}` as RunId;
  // The key of runs for nobody in particular is never destroyed, and a lock on it would be one that all runs take.
  if (under.subject !== "" && !(await holdDataKey(tx, under.dataKey.id))) throw new KeyDestroyed();
  const { sealing, sealedKey } = newRunKey(under.dataKey, id);
  const [digest] = await putPayloads(tx, sealing, [input as unknown as Json]);
  await createRun(tx, {
    id,
    team: body.team,
    agent: body.agent,
    release: release.digest,
    input: digest as Digest,
    requestedBy: by,
    limits: release.document.limits,
    subjectKey: under.subject,
    contents: { dataKey: under.dataKey.id, sealedKey },
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
