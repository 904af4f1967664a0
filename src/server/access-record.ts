import { requestById } from "../approvals/index.ts";
import type { ApprovalRequest } from "../approvals/index.ts";
import type { DecisionOutcome } from "../core/decision.ts";
import { runIdPattern } from "../core/ids.ts";
import type { ApprovalId, Digest, RunId } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import type { RunStatus } from "../core/run.ts";
import { contentDigest, saltOf } from "../store/index.ts";
import type { PayloadKeys, StepState, Tx } from "../store/index.ts";

/** Whether an agent may make a call in a run, in AuthZEN's words. */
export type AccessQuestion = {
  readonly subject: { readonly type: string; readonly id: string; readonly properties?: unknown };
  readonly action: { readonly name: string; readonly properties?: { readonly [name: string]: unknown } | undefined };
  readonly resource: { readonly type: string; readonly id: string; readonly properties?: unknown };
};

/** What the gate decided last on a call that a run has asked for. */
export type DecidedCall = {
  readonly run: RunId;
  readonly runStatus: RunStatus;
  readonly team: string;
  readonly agent: string;
  readonly tool: string;
  readonly seq: number;
  /** The decision's number in its step. */
  readonly n: number;
  readonly outcome: DecisionOutcome;
  readonly state: StepState;
  readonly effect: string | null;
  readonly shadow: boolean;
  /** When it was decided. */
  readonly at: Date;
  /** Digest of the arguments that the call is made with, where the gate changed them. */
  readonly effective: Digest | null;
  readonly arguments: Digest;
  readonly approval: ApprovalId | null;
  /** Digest of the arguments that were asked about. */
  readonly asked: Digest;
};

const columns = `step.run, run.status as "runStatus", run.team, run.agent, step.name as tool, step.seq, last.n, last.outcome, step.state, case when effect.cosigning in ('waiting', 'late') then effect.cosigning else effect.state end as effect, last.shadow,
  last.effective, step.arguments, last.approval, last.at`;
const tables = `step join run on run.id = step.run
  join lateral (select * from decision where decision.run = step.run and decision.seq = step.seq order by n desc limit 1) last on true
  left join effect on effect.run = step.run and effect.seq = step.seq`;

/**
 * The call of the run that is asked about: the same agent, tool and arguments. Of several, one that the gate lets through now, or else the
 * newest. Undefined where the run has asked for no such call: what it would be decided on then (where its values come from, what was
 * done before) is not known, and an approval of it would be bound to nothing.
 */
export async function decidedCall(
  tx: Tx,
  keys: PayloadKeys,
  question: AccessQuestion,
): Promise<DecidedCall | undefined> {
  const asked = await parts(tx, keys, question);
  if (asked === undefined) return undefined;
  const { rows } = await tx.query<Omit<DecidedCall, "asked">>(
    `select ${columns} from ${tables}
     where step.run = $1 and run.team = $2 and run.agent = $3 and step.kind = 'tool' and step.name = $4
       and (step.arguments = $5 or last.effective = $5)
     order by (effect.state = 'intended') desc nulls last, step.seq desc limit 1`,
    [asked.run, asked.team, asked.agent, asked.tool, asked.arguments],
  );
  return rows[0] && { ...rows[0], asked: asked.arguments };
}

/** Whether the call would be made with the very arguments that were asked about. */
export function isMadeWith(call: DecidedCall): boolean {
  return call.asked === (call.effective ?? call.arguments);
}

/** A name for one decision, from which it is found again. It gives nothing. */
export function evaluationIdOf({ run, seq, n }: Pick<DecidedCall, "run" | "seq" | "n">): string {
  return `${run}.${seq}.${n}`;
}

/**
 * The request that the named decision opened. Undefined where there is no such decision, or it was about something else than what is asked for,
 * member by member; null where it asked nobody.
 */
export async function requestFor(
  tx: Tx,
  keys: PayloadKeys,
  evaluationId: string,
  question: AccessQuestion,
): Promise<ApprovalRequest | null | undefined> {
  const [run = "", seq = "", n = ""] = evaluationId.split(".");
  if (
    evaluationId !== `${run}.${seq}.${n}` ||
    !runIdPattern.test(run) ||
    !/^\d{1,6}$/.test(seq) ||
    !/^\d{1,6}$/.test(n)
  )
    return undefined;
  const asked = await parts(tx, keys, question);
  if (asked === undefined || asked.run !== run) return undefined;
  const { rows } = await tx.query<{ approval: ApprovalId | null }>(
    `select case when decision.outcome = 'require_approval' then decision.approval end as approval from decision
     join step on step.run = decision.run and step.seq = decision.seq join run on run.id = step.run
     where decision.run = $1 and decision.seq = $2 and decision.n = $3
       and run.team = $4 and run.agent = $5 and step.kind = 'tool' and step.name = $6 and step.arguments = $7`,
    [run, Number(seq), Number(n), asked.team, asked.agent, asked.tool, asked.arguments],
  );
  const [found] = rows;
  if (found === undefined) return undefined;
  if (found.approval === null) return null;
  return (await requestById(tx, found.approval)) ?? null;
}

/** Keys are kept for longer than any request waits, and a day. */
const keptMs = 400 * 86_400_000;

/** Whether this is what somebody submitted with this key before, if they did: it is kept. `body`: its digest. */
export async function isSameSubmission(
  tx: Tx,
  principal: string,
  { key, body }: { readonly key: string; readonly body: Digest },
  now: Date,
): Promise<boolean> {
  await tx.query("delete from access_submission where at < $1", [new Date(now.getTime() - keptMs)]);
  const { rows } = await tx.query<{ body: string }>(
    `insert into access_submission as kept (principal, key, body, at) values ($1, $2, $3, $4)
     on conflict (principal, key) do update set key = kept.key returning body`,
    [principal, key, body, now],
  );
  return rows[0]?.body === body;
}

type Parts = {
  readonly team: string;
  readonly agent: string;
  readonly run: string;
  readonly tool: string;
  readonly arguments: Digest;
};

/** Undefined for what no call can be. Properties that the record does not have would be bound without being understood: none are taken. */
async function parts(
  tx: Tx,
  keys: PayloadKeys,
  { subject, action, resource }: AccessQuestion,
): Promise<Parts | undefined> {
  const [team, agent, more] = subject.id.split("/");
  const tool = /^tool\/(.+)$/s.exec(action.name)?.[1];
  const { arguments: args, ...others } = action.properties ?? {};
  if (subject.type !== "agent" || resource.type !== "run" || !runIdPattern.test(resource.id)) return undefined;
  if (team === undefined || agent === undefined || more !== undefined || tool === undefined) return undefined;
  if (isFilled(subject.properties) || isFilled(resource.properties) || isFilled(others)) return undefined;
  if (typeof args !== "object" || args === null || Array.isArray(args)) return undefined;
  return {
    team,
    agent,
    run: resource.id,
    tool,
    arguments: contentDigest(await saltOf(tx, keys, resource.id as RunId), args as Json),
  };
}

function isFilled(properties: unknown): boolean {
  return typeof properties === "object" && properties !== null && Object.keys(properties).length > 0;
}
