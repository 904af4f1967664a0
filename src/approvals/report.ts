import type { Digest, RunId } from "../core/ids.ts";
import type { Tx } from "../store/index.ts";

/** What asking people cost, of the requests that one policy had a part in. Times in milliseconds, from the opening to the request's end. */
export type PolicyLoad = {
  readonly policy: string;
  readonly asked: number;
  readonly approved: number;
  readonly denied: number;
  /** Nobody decided in time. */
  readonly expired: number;
  /** Their runs ended before anybody decided. */
  readonly cancelled: number;
  readonly pending: number;
  readonly medianMs: number | null;
  readonly p90Ms: number | null;
  /** Those that count for a requirement of this policy. */
  readonly decisions: number;
  /** Of them, those whose reviewer was shown the request before: the others are counted from the opening. */
  readonly shown: number;
  /** Decisions made within three seconds of when their reviewer was first shown the request: nobody reads that fast. */
  readonly quick: number;
};

/** Times from when they were first shown a request, or from its opening where that is not known. */
export type ReviewerLoad = {
  readonly reviewer: string;
  readonly decisions: number;
  readonly approved: number;
  readonly shown: number;
  readonly medianMs: number;
  readonly quick: number;
};

export type ReportScope = { readonly team: string; readonly since: Date; readonly now: Date };

/** One row for each request and policy that asked. A request that was approved and then not used was approved all the same. */
const asked = `
  with asked as (
    select distinct on (request.id, one ->> 'policy') request.id, request.run, request.seq, request.name, one ->> 'policy' as policy,
      case
        when request.state = 'denied' then 'denied'
        when request.decided_at is not null then 'approved'
        when request.state = 'expired' or (request.state = 'pending' and request.expires_at <= $3) then 'expired'
        when request.state = 'cancelled' then 'cancelled'
        else 'pending' end as came_to,
      extract(epoch from request.decided_at - request.opened_at) * 1000 as took_ms, request.opened_at,
      request.requirements
    from approval_request request cross join lateral jsonb_array_elements(request.requirements) one
    where request.team = $1 and request.opened_at >= $2)`;

/** From when the time of the decision `made` counts; with `seen` joined. */
const seenSql = `left join approval_viewing seen
  on seen.request = made.request and seen.reviewer = made.reviewer and seen.at <= made.at`;
const quickSql = (openedAt: string) => `made.at < coalesce(seen.at, ${openedAt}) + interval '3 seconds'`;

/**
 * Whether the decision `made` counts for the policy `asked.policy`: as `isEligible` of routing.ts has it. A denial ends the request for
 * whichever group it was made. Decisions of before say no groups: they count for all.
 */
const countsSql = `(made.groups is null or exists (
  select from jsonb_array_elements(asked.requirements) one
  where one ->> 'policy' = asked.policy
    and made.groups && array(
      select one ->> 'group'
      union select jsonb_array_elements_text(coalesce(one -> 'orGroups', '[]'))
      union select jsonb_array_elements_text(one -> 'escalate' -> 'to')
        where asked.opened_at + (one -> 'escalate' ->> 'afterMs')::bigint * interval '1 millisecond' <= made.at)
    and (made.decision = 'deny' or not one ? 'signed' or made.assertion is not null)
    and (made.decision = 'deny' or one ? 'editorCounts' or not exists (
      select from approval_edit edit where edit.successor = made.request
        and (edit.editors || edit.persons) && array[made.reviewer, made.person, made.for_person]))))`;

/** Policies, those that ask most first. */
export async function policyLoads(
  tx: Tx,
  { team, since, now }: ReportScope,
  page: { readonly offset: number; readonly limit: number },
): Promise<readonly PolicyLoad[]> {
  const { rows } = await tx.query<PolicyLoad>(
    `${asked}
     select policy, count(*) as asked, count(*) filter (where came_to = 'approved') as approved,
       count(*) filter (where came_to = 'denied') as denied, count(*) filter (where came_to = 'expired') as expired,
       count(*) filter (where came_to = 'cancelled') as cancelled, count(*) filter (where came_to = 'pending') as pending,
       round(percentile_cont(0.5) within group (order by took_ms))::bigint as "medianMs",
       round(percentile_cont(0.9) within group (order by took_ms))::bigint as "p90Ms",
       coalesce(sum(made.decisions), 0)::bigint as decisions, coalesce(sum(made.shown), 0)::bigint as shown,
       coalesce(sum(made.quick), 0)::bigint as quick
     from asked
     cross join lateral (
       select count(*) as decisions, count(seen.at) as shown, count(*) filter (where ${quickSql("asked.opened_at")}) as quick
       from approval_decision made ${seenSql}
       where made.request = asked.id and ${countsSql}) made
     group by policy order by count(*) desc, policy limit $4 offset $5`,
    [team, since, now, page.limit, page.offset],
  );
  return rows;
}

/** Those who decided, the busiest first. */
export async function reviewerLoads(
  tx: Tx,
  { team, since }: ReportScope,
  limit: number,
): Promise<readonly ReviewerLoad[]> {
  const { rows } = await tx.query<ReviewerLoad>(
    `select made.reviewer, count(*) as decisions, count(*) filter (where made.decision = 'approve') as approved,
       count(seen.at) as shown,
       round(percentile_cont(0.5) within group (order by extract(epoch from made.at - coalesce(seen.at, request.opened_at)) * 1000))::bigint
         as "medianMs",
       count(*) filter (where ${quickSql("request.opened_at")}) as quick
     from approval_request request join approval_decision made on made.request = request.id ${seenSql}
     where request.team = $1 and request.opened_at >= $2
     group by made.reviewer order by count(*) desc, made.reviewer limit $3`,
    [team, since, limit],
  );
  return rows;
}

/** A policy and a tool whose requests were approved every time, as they were asked: at least so often, none denied, changed or left to expire. */
export type AlwaysApproved = { readonly policy: string; readonly tool: string; readonly approved: number };

export async function alwaysApproved(
  tx: Tx,
  { team, since, now }: ReportScope,
  samples: number,
  limit: number,
): Promise<readonly AlwaysApproved[]> {
  const { rows } = await tx.query<AlwaysApproved>(
    `${asked}
     select policy, asked.name as tool, count(*) filter (where came_to = 'approved') as approved
     from asked join step on step.run = asked.run and step.seq = asked.seq and step.kind = 'tool'
     group by policy, asked.name
     having count(*) filter (where came_to = 'approved') >= $4 and count(*) filter (where came_to in ('denied', 'expired')) = 0
       and not bool_or(exists (select from approval_edit edit where asked.id in (edit.request, edit.successor)))
     order by count(*) desc, policy, asked.name limit $5`,
    [team, since, now, samples, limit],
  );
  return rows;
}

/** Where the arguments of an approved call are: in what the asking model step left. */
export type CallRecord = {
  readonly run: RunId;
  readonly agent: string;
  readonly release: Digest;
  /** Digest of the arguments, as the step is recorded with it. */
  readonly arguments: Digest;
  readonly asked: Digest | null;
  readonly callIndex: number | null;
};

/** The newest approved calls of a tool that a policy asked about, without those that a reviewer changed: their arguments are not the step's. */
export async function approvedCalls(
  tx: Tx,
  { team, since, now }: ReportScope,
  of: { readonly policy: string; readonly tool: string },
  limit: number,
): Promise<readonly CallRecord[]> {
  const { rows } = await tx.query<CallRecord>(
    `${asked}
     select step.run, run.agent, run.release, step.arguments, asking.result as asked, step.call_index as "callIndex"
     from asked
     join step on step.run = asked.run and step.seq = asked.seq and step.kind = 'tool'
     join run on run.id = asked.run
     left join step asking on asking.run = step.run and asking.seq = step.asked_by
     where asked.came_to = 'approved' and asked.policy = $4 and asked.name = $5
       and not exists (select from approval_edit edit where edit.successor = asked.id)
     order by asked.id desc limit $6`,
    [team, since, now, of.policy, of.tool, limit],
  );
  return rows;
}
