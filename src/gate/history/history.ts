import type { HistoryFact } from "../../core/decision.ts";
import { codeOf } from "../../core/errors.ts";
import type { RunId } from "../../core/ids.ts";
import { sha256 } from "../../store/index.ts";
import type { PayloadKeys, Tx } from "../../store/index.ts";
import type { RunContext } from "../governed-call.ts";
import type { Place } from "../turns.ts";
import { plus, uncountable, windowStart } from "./run-history.ts";
import { createArgumentReader } from "./sums.ts";
import type { ArgumentReader, SummedStep } from "./sums.ts";

/** Steps whose arguments are opened for the sums of one decision. */
export const maxSummedSteps = 5_000;
/** A decision waits no longer for others of its scope, in milliseconds; then it is tried again. */
const lockTimeoutMs = 10_000;

export type HistoryRequest = {
  readonly run: Pick<RunContext, "id" | "team" | "agent" | "requestedBy" | "input">;
  /** The step that is decided on: it does not count itself. */
  readonly seq: number;
  /** When it is decided: windows reach back from here. It MUST be the `at` of the facts and of the record. */
  readonly now: Date;
  readonly facts: readonly HistoryFact[];
};

/** A lock in the database that a decision holds until it is committed. */
export type HistoryLock = Place;

/**
 * What has to be locked so that a decision on a call and the counts it goes by are one: every fact of more than one run that policies read
 * for the call (shared), or that the call adds to (exclusive). `actions`: the call's Cedar action and its groups; `reads`: names of
 * facts. In an order that all decisions share, so that none waits for another in a circle.
 */
export function wideLocks(
  facts: readonly HistoryFact[],
  call: { readonly actions: readonly string[]; readonly reads: ReadonlySet<string> },
  run: HistoryRequest["run"],
): readonly HistoryLock[] {
  return facts
    .flatMap((fact): HistoryLock[] => {
      const scope = scopeName(fact, run);
      const exclusive = fact.actions.some((action) => call.actions.includes(action));
      return scope === undefined || !(exclusive || call.reads.has(fact.name))
        ? []
        : [{ name: `history/${fact.name}/${scope}`, exclusive }];
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Undefined for facts of the run alone: decisions of one run take turns anyway. Nobody's name is shown to the server. */
function scopeName(
  { per }: HistoryFact,
  { team, agent, requestedBy, input }: HistoryRequest["run"],
): string | undefined {
  switch (per) {
    case "run":
      return undefined;
    case "team":
      return `team/${team}`;
    case "agent":
      return `agent/${team}/${agent}`;
    case "requester":
      return `requester/${team}/${sha256(requestedBy)}`;
    case "subject":
      return `subject/${team}/${sha256(input.subject?.id ?? "")}`;
  }
}

/**
 * Takes the locks, until the transaction ends. It MUST come before anything is counted, in a transaction that reads what is committed
 * (not one snapshot): each count then sees what the lock's last holder wrote. Throws Postgres's `55P03` after 10 seconds.
 */
export async function lockHistory(tx: Tx, locks: readonly HistoryLock[]): Promise<void> {
  if (locks.length === 0) return;
  await Promise.all([
    tx.query("select set_config('lock_timeout', $1, true)", [`${lockTimeoutMs}ms`]),
    tx.query(
      `select case when exclusive then pg_advisory_xact_lock(hashtextextended(name, 0))
                   else pg_advisory_xact_lock_shared(hashtextextended(name, 0)) end
       from unnest($1::text[], $2::boolean[]) as wanted (name, exclusive)`,
      [locks.map(({ name }) => name), locks.map(({ exclusive }) => exclusive)],
    ),
  ]);
}

/** `$1` is the run, `$2` the step left out, `$3` facts as JSON, `$4` to `$6` team, agent and requester. */
const askedSql = `
  with me as (select subject_key from run where id = $1),
  asked as (
    select fact.*, class.id as class
    from jsonb_to_recordset($3::jsonb) as fact (name text, actions text[], per text, since timestamptz)
    join call_class class on class.team = $4 and class.actions && fact.actions)`;

/** What a fact asks for, one branch for each scope: all but one are found empty before anything is read. */
function scopesSql(columns: string): string {
  const scopes = [
    "asked.per = 'run' and h.run = $1",
    "asked.per = 'team'",
    "asked.per = 'agent' and h.agent = $5",
    "asked.per = 'requester' and h.requester = $6",
    "asked.per = 'subject' and h.subject = (select subject_key from me)",
    // It may have been for anybody.
    "asked.per = 'subject' and h.subject is null",
  ];
  return scopes
    .map((scope) => `select ${columns} from history_step h where ${scope} and ${recent}`)
    .join(" union all ");
}

const recent = "h.class = asked.class and h.at >= asked.since";

// The step itself is taken off again, so that the rest is counted within an index.
const countSql = `${askedSql}
  select name, sum(found.n)::bigint as count from asked cross join lateral (
    ${scopesSql("count(*) as n")} union all select -count(*) from history_step h where h.run = $1 and h.seq = $2 and ${recent}) found
  group by name`;

const sumSql = `${askedSql}
  select asked.name, step.name as tool, coalesce(last.effective, step.arguments) as arguments, last.effective is null as "asAsked",
    step.call_index as "callIndex", coalesce(last.effective, asking.result) as contents, run.release
  from asked cross join lateral (${scopesSql("h.run, h.seq")}) found
  join step on step.run = found.run and step.seq = found.seq
  join run on run.id = found.run
  left join step asking on asking.run = step.run and asking.seq = step.asked_by
  left join lateral (select effective from decision where decision.run = step.run and decision.seq = step.seq
                     order by n desc limit 1) last on true
  where not (found.run = $1 and found.seq = $2)
  limit ${maxSummedSteps + 1}`;

/** The values of history facts by name. */
export type HistoryCounter = (tx: Tx, request: HistoryRequest) => Promise<Readonly<Record<string, number>>>;

/**
 * Counts what the record holds, in one round trip (more for facts per subject, and where sums open arguments for the first time), and all
 * on `tx`: a decision that holds locks never waits for another connection. Steps count from their intent on, so parallel ones see each
 * other. Throws `history_uncountable`.
 */
export function createHistoryCounter(
  keys: PayloadKeys,
  /** What is to be added to facts of more than one run, by name, for runs that are not in this database: a fork's. */
  beyond: Readonly<Record<string, number>> = {},
): HistoryCounter {
  const valuesOf = createArgumentReader(keys);
  return async (tx, request) => {
    const { facts, run } = request;
    // Before anything else is sent: after an error, nothing may still be under way on `tx`.
    if (facts.some(({ per }) => per === "subject")) await assertSubjectKnown(tx, run.id);
    const counted = facts.filter(({ measure }) => measure === "count");
    const summed = facts.filter(({ measure }) => measure === "sum");
    const [counts, sums] = await Promise.all([countsOf(tx, request, counted), sumsOf(tx, request, summed, valuesOf)]);
    return Object.fromEntries(
      facts.map(({ name }) => [
        name,
        plus(counts.get(name) ?? sums.get(name) ?? 0, Object.hasOwn(beyond, name) ? (beyond[name] ?? 0) : 0, name),
      ]),
    );
  };
}

/** What a counter counts; undefined where a fact cannot be counted: what is decided on is denied then. */
export async function tryCount(
  tx: Tx,
  count: HistoryCounter,
  request: HistoryRequest,
): Promise<Readonly<Record<string, number>> | undefined> {
  if (request.facts.length === 0) return {};
  try {
    return await count(tx, request);
  } catch (error) {
    if (codeOf(error) === "history_uncountable") return undefined;
    throw error;
  }
}

async function countsOf(
  tx: Tx,
  request: HistoryRequest,
  facts: readonly HistoryFact[],
): Promise<ReadonlyMap<string, number>> {
  if (facts.length === 0) return new Map();
  const { rows } = await tx.query<{ name: string; count: number }>(countSql, parametersOf(request, facts));
  return new Map(rows.map(({ name, count }) => [name, count]));
}

async function sumsOf(
  tx: Tx,
  request: HistoryRequest,
  facts: readonly HistoryFact[],
  valuesOf: ArgumentReader,
): Promise<ReadonlyMap<string, number>> {
  const totals = new Map<string, number>();
  if (facts.length === 0) return totals;
  const { rows } = await tx.query<SummedStep & { name: string }>(sumSql, parametersOf(request, facts));
  if (rows.length > maxSummedSteps) {
    const names = facts.map(({ name }) => name).join(", ");
    throw uncountable(`the sums ${names} go over more than ${maxSummedSteps} steps`, "shorten their windows");
  }
  const asked = rows.map((row) => ({ ...row, argument: facts.find(({ name }) => name === row.name)?.argument ?? "" }));
  const values = await valuesOf(tx, asked);
  for (const [index, { name }] of rows.entries())
    totals.set(name, plus(totals.get(name) ?? 0, values[index] ?? Number.NaN, name));
  return totals;
}

function parametersOf({ run, seq, now }: HistoryRequest, facts: readonly HistoryFact[]): readonly unknown[] {
  const asked = facts.map(({ name, actions, per, withinMs }) => {
    const since = withinMs === undefined ? "-infinity" : windowStart(now, withinMs).toISOString();
    return { name, actions, per, since };
  });
  return [run.id, seq, JSON.stringify(asked), run.team, run.agent, run.requestedBy];
}

/** Whether two runs are for one subject is known by a keyed digest only, which a run that was registered before has not got. */
async function assertSubjectKnown(tx: Tx, run: RunId): Promise<void> {
  const { rows } = await tx.query<{ known: boolean }>(
    "select subject_key is not null as known from run where id = $1",
    [run],
  );
  if (rows[0]?.known !== true)
    throw uncountable("the run was registered without a key of its subject", "start a new run");
}
