import { ApiError } from "../../api/index.ts";
import { peopleLog } from "../../core/ids.ts";
import {
  cosignedLatest,
  publishedCheckpoint,
  proveConsistency,
  proveInclusion,
  logHeads,
  readEntries,
} from "../../ledger/index.ts";
import type { Handlers } from "../handler.ts";
import { hexOf } from "../ledger-excerpt.ts";

export const ledgerHandlers: Handlers<
  "listLogs" | "checkpoint" | "entries" | "inclusionProof" | "consistencyProof" | "verifierKey"
> = {
  async listLogs(_request, { services: { pool, ledger }, caller }) {
    const { teams } = caller();
    const isListed = ({ log }: { readonly log: string }) => log === peopleLog || teams?.includes(log) !== false;
    const stopped = new Map(ledger.stopped?.().map(({ log, why }) => [log, why]));
    return {
      logs: (await logHeads(pool))
        .filter(isListed)
        .map((head) => ({ ...head, stopped: stopped.get(head.log) ?? null })),
    };
  },

  async checkpoint({ params: { log }, query }, { services: { pool, ledger } }) {
    const latest = query.cosigned
      ? await publishedCheckpoint(pool, log, ledger.witnesses ?? [], ledger.quorum ?? 0)
      : await cosignedLatest(pool, log);
    if (latest === undefined) {
      throw new ApiError("not_signed_yet", `nothing of log \`${log}\` has been signed yet`, {
        hint: "a log is a team's name; its first entries are signed within a second",
      });
    }
    return { log, checkpoint: latest.note };
  },

  async entries({ params: { log }, query }, { services }) {
    const found = await readEntries(services.pool, log, query.from, query.limit);
    const entries = found.map(({ index, body }) => ({ index, leaf: Buffer.from(body).toString("utf8") }));
    return { log, entries, next: found.length === query.limit ? query.from + query.limit : null };
  },

  async inclusionProof({ params: { log }, query }, { services }) {
    return { log, proof: (await proveInclusion(services.pool, log, query.index, query.size)).map(hexOf) };
  },

  async consistencyProof({ params: { log }, query }, { services }) {
    return { log, proof: (await proveConsistency(services.pool, log, query.from, query.to)).map(hexOf) };
  },

  async verifierKey({ params: { log } }, { services }) {
    const { ledger } = services;
    return { log, origin: ledger.originOf(log), verifierKey: ledger.signerOf(log).verifierKey };
  },
};
