import { ApiError } from "../api/index.ts";
import { signRunStatement } from "../audit/offline/index.ts";
import type { RunEvidence } from "../core/run-record.ts";
import { checkpointOfSize } from "../ledger/index.ts";
import { scanEntry, parseNote, parseCheckpoint } from "../ledger/proof/index.ts";
import type { RunRow } from "../store/index.ts";
import type { Services } from "./dependencies.ts";
import { inOneMoment, readFacts } from "./run-record.ts";

/**
 * What is recorded of a run, without contents, with proofs to the checkpoint of `size` or the latest one. Throws `entry_not_found` where
 * nothing was signed at that size, and `temporal_unavailable`.
 */
export async function buildRunEvidence(
  services: Services,
  run: RunRow,
  size: number | undefined,
): Promise<RunEvidence> {
  if (size !== undefined && (await checkpointOfSize(services.pool, run.team, size)) === undefined) {
    throw new ApiError("entry_not_found", `log \`${run.team}\` has no checkpoint of size ${size}`, {
      hint: "ask for the latest checkpoint first: GET /v1/ledger/LOG/checkpoint",
    });
  }
  return inOneMoment(services, run, async (tx) => {
    const { row, stored } = await readFacts(services, tx, run.id, size);
    const { checkpoint, entries } = stored.ledger;
    const covered = checkpoint === null ? 0 : parseCheckpoint(parseNote(checkpoint).text).size;
    const leaves = entries.map(({ index, leaf }) => ({ index, leaf, entry: scanEntry(Buffer.from(leaf, "utf8")) }));
    const whole = entries.every(({ index }) => index < covered);
    const { ledger } = services;
    const origin = ledger.originOf(run.team);
    const signers = ledger.signersOf?.(run.team) ?? [ledger.signerOf(run.team)];
    return {
      row,
      stored: {
        ...stored,
        context: stored.context.filter(({ index }) => index < covered),
        statement: whole ? signRunStatement(origin, leaves, signers) : null,
      },
    };
  });
}
