import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import type { RunFacts } from "../../src/core/decision.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { remoteOptionsOf } from "../../src/policy/index.ts";
import type { RemoteOptions } from "../../src/policy/index.ts";

/** What an AuthZEN decision point is asked. */
export type Evaluation = {
  readonly subject: { readonly type: string; readonly id: string };
  readonly action: { readonly name: string; readonly properties: { readonly arguments?: JsonObject } };
  readonly resource: { readonly type: string; readonly id: string };
  readonly context: RunFacts;
};

export type DecisionPoint = {
  readonly options: RemoteOptions;
  /** In the order in which it was asked. */
  readonly asked: readonly Evaluation[];
  /** How it decides from now on. */
  decides(how: Decide): void;
  close(): Promise<void>;
};

type Decide = (asked: Evaluation) => boolean | Promise<boolean>;

/** A decision point that speaks AuthZEN 1.0, `POST /access/v1/evaluation`, over real HTTP; an answer that is not held comes at once. */
export async function startDecisionPoint(decide: Decide): Promise<DecisionPoint> {
  const asked: Evaluation[] = [];
  let how = decide;
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (piece: Buffer) => (text += piece.toString()));
    request.on("end", () => {
      const evaluation = JSON.parse(text) as Evaluation;
      asked.push(evaluation);
      response.setHeader("content-type", "application/json");
      response.setHeader("x-request-id", request.headers["x-request-id"] ?? "");
      void Promise.resolve(how(evaluation)).then((decision) => response.end(JSON.stringify({ decision })));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const options = remoteOptionsOf({
    COUNTERSIGN_AUTHZEN_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    // Long: what is held is let go by a test, and a busy machine is no denial.
    COUNTERSIGN_AUTHZEN_TIMEOUT_MS: "30000",
  });
  if (options === undefined) throw new Error("it is not configured");
  return {
    options,
    asked,
    decides: (next) => (how = next),
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
