import type { Approved } from "../../core/approved.ts";
import type { StepKind } from "../../core/action.ts";
import { tally } from "../../approvals/offline.ts";
import type { Vote } from "../../approvals/offline.ts";
import type { ApprovalRequirement, DecisionOutcome, RunFacts } from "../../core/decision.ts";
import type { Digest, RunId } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import type { RunInput } from "../../core/run.ts";
import { getContents } from "../../store/index.ts";
import type { Content, PayloadKeys, Tx } from "../../store/index.ts";

/** A run with every decision on its steps, and the contents that these were about. */
export type DecidedRun = {
  readonly id: RunId;
  readonly agent: string;
  readonly release: Digest;
  readonly requestedBy: string;
  readonly input: RunInput | undefined;
  /** What its digests are made with; absent: they are bare. */
  readonly salt?: string | undefined;
  readonly decisions: readonly DecidedStep[];
};

export type DecidedStep = {
  readonly seq: number;
  readonly n: number;
  readonly kind: StepKind;
  readonly name: string;
  readonly arguments: Digest;
  readonly callIndex: number | null;
  /** What the model step that asked for the call left behind; undefined where it cannot be read. */
  readonly asked: Json | undefined;
  /** What was decided on, where that is a model's answer and somebody wants it. */
  readonly answer?: Json | undefined;
  readonly outcome: DecisionOutcome;
  readonly code: string | null;
  readonly policies: readonly string[];
  readonly policySet: Digest;
  readonly facts: RunFacts;
  /** What people had approved, where the decision went by it. */
  readonly approved: readonly Approved[];
  readonly effective: Digest | null;
  /** Made on a call that a reviewer had changed. */
  readonly edit?: string | null;
  readonly shadow: boolean;
  readonly witnesses: number | null;
  readonly at: Date;
};

type RunRow = {
  readonly id: RunId;
  readonly agent: string;
  readonly release: Digest;
  readonly requestedBy: string;
  readonly input: Digest;
  readonly decisions: number;
};

type DecisionRow = Omit<DecidedStep, "asked" | "answer" | "approved"> & {
  readonly run: RunId;
  readonly answerDigest: Digest | null;
  readonly askedResult: Digest | null;
  /** The grant, standing or not, that it went by. */
  readonly grant: string | null;
};

export type BacktestScope = {
  readonly team: string;
  readonly since: Date | undefined;
  /** With the answers that were decided on, and not only those that obligations changed. */
  readonly answers?: boolean;
};

/** Decisions that a page has, about; at least one run. */
const pageDecisions = 2_000;
const pageRuns = 200;
/** Encrypted bytes of contents that are opened at once. */
const openedBytes = 16 * 1024 * 1024;

/** How many decisions there are to go over. */
export async function countDecisions(tx: Tx, { team, since }: BacktestScope): Promise<number> {
  const { rows } = await tx.query<{ count: number }>(
    `select count(*) as count from decision join run on run.id = decision.run
     where run.team = $1 and ($2::timestamptz is null or decision.at >= $2)`,
    [team, since ?? null],
  );
  return rows[0]?.count ?? 0;
}

/**
 * Runs that may have decisions since then, in the order of their ids; each with all of its decisions. The next page is read while one is
 * worked on: memory is that of two.
 */
export async function* decidedRuns(
  tx: Tx,
  keys: PayloadKeys,
  scope: BacktestScope,
): AsyncGenerator<readonly DecidedRun[], void> {
  const readAfter = (after: string): Promise<readonly DecidedRun[]> => {
    const page = runsAfter(tx, scope, after).then((runs) =>
      runs.length === 0 ? [] : withDecisions(tx, keys, scope, runs),
    );
    // Heard where it is awaited; who stops before that need not hear of it.
    page.catch(() => undefined);
    return page;
  };
  let next = readAfter("");
  for (;;) {
    const page = await next;
    const last = page.at(-1);
    if (last === undefined) return;
    next = readAfter(last.id);
    yield page;
  }
}

async function runsAfter(tx: Tx, { team, since }: BacktestScope, after: string): Promise<readonly RunRow[]> {
  const { rows } = await tx.query<RunRow>(
    `select id, agent, release, requested_by as "requestedBy", input, greatest(decisions, steps) as decisions from run
     where team = $1 and id > $2 and ($3::timestamptz is null or closed_at is null or closed_at >= $3) order by id limit $4`,
    [team, after, since ?? null, pageRuns],
  );
  let sum = 0;
  return rows.filter((run, index) => {
    sum += run.decisions;
    return index === 0 || sum <= pageDecisions;
  });
}

async function withDecisions(
  tx: Tx,
  keys: PayloadKeys,
  { answers = false }: BacktestScope,
  runs: readonly RunRow[],
): Promise<readonly DecidedRun[]> {
  const { rows } = await tx.query<DecisionRow>(
    `select d.run, d.seq, d.n, d.outcome, d.code, d.policies, d.policy_set as "policySet", d.facts,
       coalesce(d.approval, d.standing_grant) as "grant", d.effective, d.edit, d.shadow, d.witnesses, d.at,
       s.kind, s.name, s.arguments, s.call_index as "callIndex", asking.result as "askedResult",
       case when $2 or d.effective is not null then d.facts #>> '{response,answer}' end as "answerDigest"
     from decision d
     join step s on s.run = d.run and s.seq = d.seq
     left join step asking on asking.run = s.run and asking.seq = s.asked_by
     where d.run = any($1::text[]) order by d.run, d.seq, d.n`,
    [runs.map(({ id }) => id), answers],
  );
  const digests = [
    ...runs.map(({ input }) => input),
    ...rows.flatMap(({ askedResult, answerDigest }) => [askedResult ?? [], answerDigest ?? []].flat()),
  ];
  const [contents, approved] = await Promise.all([open(tx, keys, digests), approvalsOf(tx, rows)]);
  const ofRun = Map.groupBy(rows, ({ run }) => run);
  return runs.map(({ id, agent, release, requestedBy, input }) => ({
    id,
    agent,
    release,
    requestedBy,
    input: contents.get(input)?.value as RunInput | undefined,
    salt: contents.get(input)?.salt,
    decisions: (ofRun.get(id) ?? []).map(({ run: _run, askedResult, answerDigest, grant, ...row }) => ({
      ...row,
      answer: answerDigest === null ? undefined : contents.get(answerDigest)?.value,
      asked: askedResult === null ? undefined : contents.get(askedResult)?.value,
      approved: row.outcome === "allow" && grant !== null ? (approved.get(grant) ?? []) : [],
    })),
  }));
}

/** Contents that are there and can be opened. What was erased, or is damaged, leaves its decisions out, and not the whole backtest. */
async function open(tx: Tx, keys: PayloadKeys, digests: readonly Digest[]): Promise<ReadonlyMap<Digest, Content>> {
  const { rows } = await tx.query<{ digest: Digest; bytes: number }>(
    "select digest, octet_length(ciphertext) as bytes from payload where digest = any($1::text[])",
    [[...new Set(digests)]],
  );
  const found = new Map<Digest, Content>();
  for (const batch of batchesOf(rows)) {
    try {
      for (const [digest, value] of await getContents(tx, keys, batch)) found.set(digest, value);
    } catch {
      for (const digest of batch) {
        const alone = await getContents(tx, keys, [digest]).catch(() => new Map<Digest, Content>());
        for (const [, value] of alone) found.set(digest, value);
      }
    }
  }
  return found;
}

function batchesOf(
  rows: readonly { readonly digest: Digest; readonly bytes: number }[],
): readonly (readonly Digest[])[] {
  const batches: Digest[][] = [];
  let room = 0;
  for (const { digest, bytes } of rows) {
    const batch = batches.at(-1);
    if (batch === undefined || bytes > room) {
      batches.push([digest]);
      room = openedBytes - bytes;
    } else {
      batch.push(digest);
      room -= bytes;
    }
  }
  return batches;
}

/** A vote as it was recorded. Older rows say nothing of persons and groups. */
type VoteRow = {
  readonly reviewer: string;
  readonly person: string | null;
  readonly forPerson: string | null;
  readonly groups: readonly string[] | null;
  readonly at: string;
  readonly passkey: boolean;
};

/**
 * How many people had approved each requirement of a grant that was used, each for the groups that their decision counted for: the gate has
 * checked their signatures then.
 */
async function approvalsOf(tx: Tx, rows: readonly DecisionRow[]): Promise<ReadonlyMap<string, readonly Approved[]>> {
  const ids = rows.flatMap(({ outcome, grant }) => (outcome === "allow" && grant !== null ? [grant] : []));
  if (ids.length === 0) return new Map();
  const { rows: requests } = await tx.query<{
    id: string;
    requirements: readonly ApprovalRequirement[];
    openedAt: Date | null;
    usedAt: Date | null;
    votes: readonly VoteRow[] | null;
  }>(
    `select request.id, request.requirements, request.opened_at as "openedAt", request.consumed_at as "usedAt",
       json_agg(json_build_object('reviewer', decided.reviewer, 'person', decided.person, 'forPerson', decided.for_person,
         'groups', decided.groups, 'at', decided.at, 'passkey', decided.assertion is not null) order by decided.id)
         filter (where decided.id is not null) as votes
     from approval_request request
     left join approval_decision decided on decided.request = request.id and decided.decision = 'approve'
     where request.id = any($1::text[]) group by request.id
     union all
     select id, terms -> 'requirements', null, null, null from standing_grant where id = any($1::text[])`,
    [ids],
  );
  return new Map(
    requests.map(({ id, requirements, openedAt, usedAt, votes }) => {
      // A standing grant, which nobody voted on here, is what was asked for, no more.
      const counts =
        openedAt === null
          ? requirements.map(({ quorum }) => quorum)
          : tally(
              requirements,
              (votes ?? []).map((vote) => voteOf(requirements, openedAt, vote)),
            );
      const ageMs = openedAt === null ? 0 : (usedAt ?? openedAt).getTime() - openedAt.getTime();
      return [
        id,
        requirements.map((requirement, index) => ({ ...requirement, approvals: counts[index] ?? 0, ageMs })),
      ] as const;
    }),
  );
}

function voteOf(requirements: readonly ApprovalRequirement[], openedAt: Date, vote: VoteRow): Vote {
  const { reviewer, person, forPerson, groups, at, passkey } = vote;
  return {
    reviewer,
    decision: "approve",
    groups: groups ?? requirements.map(({ group }) => group),
    persons: [person ?? reviewer, ...(forPerson === null ? [] : [forPerson])],
    afterMs: Date.parse(at) - openedAt.getTime(),
    kind: passkey ? "webauthn" : "ed25519",
  };
}
