import type { Digest } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import { channels } from "../core/release.ts";
import type { Channel, Release, ReleaseDocument } from "../core/release.ts";
import { digestOf, teamList } from "../store/index.ts";
import type { TeamFilter, Tx } from "../store/index.ts";
import { RegistryError } from "./errors.ts";

/** Keeps a release. Idempotent: the same document is the same release. Returns whether it is new. */
export async function registerRelease(tx: Tx, release: Release, by: string, now: Date): Promise<boolean> {
  const { digest, document } = verified(release);
  const { rowCount } = await tx.query(
    `insert into release (digest, team, agent, document, created_at, created_by) values ($1, $2, $3, $4, $5, $6)
     on conflict (digest) do nothing`,
    [digest, document.team, document.agent, JSON.stringify(document), now, by],
  );
  return rowCount === 1;
}

/** The release, rehashed on reading. Throws `release_missing` or `release_corrupt`. */
export async function releaseByDigest(tx: Tx, digest: Digest): Promise<Release> {
  const { rows } = await tx.query<{ document: ReleaseDocument }>("select document from release where digest = $1", [
    digest,
  ]);
  const document = rows[0]?.document;
  if (document === undefined) throw new RegistryError("release_missing", `no release \`${digest}\``);
  return verified({ digest, document });
}

function verified(release: Release): Release {
  if (digestOf(release.document as unknown as Json) === release.digest) return release;
  throw new RegistryError("release_corrupt", `release \`${release.digest}\` has other contents than its name says`);
}

export type ChannelMove = {
  readonly team: string;
  readonly agent: string;
  readonly channel: Channel;
  readonly release: Digest;
  readonly by: string;
  readonly reason: string;
  readonly now: Date;
};

/** Points a channel at a release of the same agent, by adding an event. Returns the event's id, or undefined where it points there already. */
export async function moveChannel(tx: Tx, move: ChannelMove): Promise<number | undefined> {
  const { team, agent, channel, release } = move;
  await tx.query("select pg_advisory_xact_lock(hashtextextended($1, 0))", [`channel/${team}/${agent}/${channel}`]);
  if ((await resolveChannel(tx, team, agent, channel)) === release) return undefined;
  const { rows } = await tx.query<{ id: number }>(
    `insert into channel_event (team, agent, channel, release, at, by_principal, reason)
     select $1, $2, $3, digest, $5, $6, $7 from release where digest = $4 and team = $1 and agent = $2 returning id`,
    [team, agent, channel, release, move.now, move.by, move.reason],
  );
  const event = rows[0];
  if (event === undefined)
    throw new RegistryError("release_missing", `no release \`${release}\` of agent \`${team}/${agent}\``);
  return event.id;
}

/** The release that a channel points at: the latest of its events. */
export async function resolveChannel(
  tx: Tx,
  team: string,
  agent: string,
  channel: Channel,
): Promise<Digest | undefined> {
  const { rows } = await tx.query<{ release: Digest }>(
    "select release from channel_event where team = $1 and agent = $2 and channel = $3 order by id desc limit 1",
    [team, agent, channel],
  );
  return rows[0]?.release;
}

export type AgentRow = {
  readonly team: string;
  readonly agent: string;
  readonly releases: number;
  readonly registeredAt: Date;
  readonly channels: Partial<Record<Channel, Digest>>;
};

/** A page of agents: those after this team and name. */
export type AgentPage = { readonly after?: { readonly team: string; readonly agent: string }; readonly limit: number };

/** Every agent (or a page of them) with what its channels point at, by team and name. */
export async function listAgents(tx: Tx, team?: TeamFilter, page?: AgentPage): Promise<readonly AgentRow[]> {
  const { rows } = await tx.query<AgentRow>(
    `select r.team, r.agent, count(*) as releases, min(r.created_at) as "registeredAt",
       coalesce((select jsonb_object_agg(latest.channel, latest.release)
                 from (select distinct on (channel) channel, release from channel_event c
                       where c.team = r.team and c.agent = r.agent order by channel, id desc) latest), '{}') as channels
     from release r where ($1::text[] is null or r.team = any($1)) and ($2::text is null or (r.team, r.agent) > ($2, $3))
     group by r.team, r.agent order by r.team, r.agent limit $4`,
    [teamList(team), page?.after?.team ?? null, page?.after?.agent ?? null, page?.limit ?? null],
  );
  return rows;
}

export type ChannelEvent = {
  readonly id: number;
  readonly channel: Channel;
  readonly release: Digest;
  readonly at: Date;
  readonly by: string;
  readonly reason: string;
};

/** How an agent's channels moved, newest first. */
export async function channelEvents(tx: Tx, team: string, agent: string, limit = 50): Promise<readonly ChannelEvent[]> {
  const { rows } = await tx.query<ChannelEvent>(
    `select id, channel, release, at, by_principal as by, reason from channel_event where team = $1 and agent = $2
       and channel = any($3::text[]) order by id desc limit $4`,
    [team, agent, [...channels], limit],
  );
  return rows;
}

/** What every agent of a team has in production, rehashed: what a policy set for the team must cover. */
export async function newestReleases(tx: Tx, team: string): Promise<readonly Release[]> {
  const { rows } = await tx.query<{ digest: Digest; document: ReleaseDocument }>(
    `select distinct on (c.agent) r.digest, r.document from channel_event c join release r on r.digest = c.release
     where c.team = $1 and c.channel = 'production' order by c.agent, c.id desc`,
    [team],
  );
  return rows.map(verified);
}
