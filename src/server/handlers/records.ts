import { ApiError } from "../../api/index.ts";
import { readBundle } from "../../temporal/index.ts";
import type { Handlers } from "../handler.ts";
import { buildRunRecord } from "../run-record.ts";
import { existingRun } from "./runs.ts";

export const recordHandlers: Handlers<"runRecord" | "bundle"> = {
  async runRecord({ params: { run } }, { services }) {
    return buildRunRecord(services, await existingRun(services.pool, run));
  },

  async bundle({ params: { digest } }, { services }) {
    const code = await readBundle(services.pool, digest);
    if (code === undefined) throw new ApiError("bundle_not_found", `no workflow bundle \`${digest}\``);
    return { digest, code };
  },
};
