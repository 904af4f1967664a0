import { ulid } from "ulid";

import { ApiError } from "../../api/index.ts";
import { faultPoint } from "../../faults/index.ts";
import { appendToOutbox } from "../../ledger/index.ts";
import { readBundle } from "../../temporal/index.ts";
import type { Handlers } from "../handler.ts";
import { contentsRead } from "../ledger-events.ts";
import { buildRunEvidence } from "../run-evidence.ts";
import { buildRunRecord } from "../run-record.ts";
import { existingRun } from "./runs.ts";

export const recordHandlers: Handlers<"runRecord" | "runEvidence" | "bundle"> = {
  async runRecord({ params: { run } }, { services, caller }) {
    const row = await existingRun(services.pool, run);
    // Before any content leaves: what cannot be recorded is not read.
    const read = contentsRead(row, ulid(), caller().id, services.now());
    await faultPoint("contents.read", () => appendToOutbox(services.pool, [read]));
    return buildRunRecord(services, row);
  },

  async runEvidence({ params: { run }, query }, { services }) {
    return buildRunEvidence(services, await existingRun(services.pool, run), query.size);
  },

  async bundle({ params: { digest } }, { services }) {
    const code = await readBundle(services.pool, digest);
    if (code === undefined) throw new ApiError("bundle_not_found", `no workflow bundle \`${digest}\``);
    return { digest, code };
  },
};
