import type { Payload } from "@temporalio/common";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";

import { ApiError } from "../api/index.ts";
import type { Route } from "../api/index.ts";
import { codeOf } from "../core/errors.ts";
import type { RunId } from "../core/ids.ts";
import { runById } from "../store/index.ts";
import { createPayloadCodec, runOfPayload } from "../temporal/index.ts";
import { callerIn } from "./auth.ts";
import type { Caller } from "./scope.ts";
import type { Services } from "./dependencies.ts";
import { noteRead } from "./note-read.ts";

const base64 = z.base64().max(8_000_000);
/** Temporal's remote codec protocol: payloads in protobuf JSON, as many back, in their order. */
const body = z.object({
  payloads: z
    .array(z.object({ metadata: z.record(z.string().max(200), base64).optional(), data: base64.optional() }))
    .max(1_000),
});

const paths = { decode: "/codec/decode", encode: "/codec/encode" } as const;

/** Whether the address is one of a page of the Temporal UI's, which is of another origin. */
export function isCodecPath(url: string): boolean {
  const path = url.split("?")[0];
  return path === paths.decode || path === paths.encode;
}

/** Before any check: also a refusal has to be readable to the page that gets it. */
export function createCodecCors(uiOrigin: string | undefined) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    if (!isCodecPath(request.url)) return;
    reply.header("vary", "origin");
    if (uiOrigin === undefined || request.headers.origin !== uiOrigin) return;
    reply.header("access-control-allow-origin", uiOrigin);
    reply.header("access-control-allow-credentials", "true");
  };
}

/**
 * What Temporal's own UI and command line read payloads with: for who may read contents, each read of a run being an entry in its team's
 * ledger. `uiOrigin`: the only origin whose pages may call it; absent: none, only programs. What was erased, or is none of ours, goes back as
 * it came.
 */
export function addCodecEndpoint(http: FastifyInstance, services: Services, uiOrigin: string | undefined): void {
  const access: Route["access"] = ["operator", "auditor"];
  const schema = { hide: true } as object;
  for (const [direction, url] of Object.entries(paths)) {
    http.options(url, { config: { access: "public" }, schema }, async (request, reply) => {
      if (request.headers.origin !== uiOrigin || uiOrigin === undefined)
        throw new ApiError("origin_not_allowed", "pages of this origin may not read payloads", {
          hint: "set COUNTERSIGN_TEMPORAL_UI to the origin of Temporal's UI",
        });
      reply.header("access-control-allow-methods", "POST");
      reply.header("access-control-allow-headers", "authorization, content-type, x-namespace");
      reply.header("access-control-max-age", "600");
      return reply.code(204).send();
    });
    http.post(
      url,
      {
        // Payloads of several runs may come at once: each is looked at by its team.
        config: { access, scope: () => "a list" },
        schema,
        bodyLimit: 16 * 1024 * 1024,
      },
      async (request) => {
        if (direction === "encode")
          throw new ApiError("forbidden", "nothing is written into Temporal by this way", {
            hint: "runs are started and answered through the API",
          });
        return decode(services, callerIn(request), request.body);
      },
    );
  }
}

async function decode(services: Services, { id: by, teams }: Caller, given: unknown): Promise<z.output<typeof body>> {
  const parsed = body.safeParse(given);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new ApiError("invalid_request", `\`${issue?.path.join(".") ?? ""}\`: ${issue?.message ?? "does not fit"}`);
  }
  const payloads = parsed.data.payloads.map(payloadOf);
  const runs = new Set(payloads.flatMap((payload) => runOfPayload(payload) ?? []));
  const readable = new Set<RunId>();
  for (const run of runs) {
    const row = await runById(services.pool, run);
    if (row === undefined || row.contentsErasedAt !== null || teams?.includes(row.team) === false) continue;
    await noteRead(services, row, "temporal", by);
    readable.add(run);
  }
  // Made anew: keys are looked up at each request, so that an erasure holds at once.
  const codec = createPayloadCodec(services.pool, services.keys);
  const opened = await Promise.all(
    payloads.map(async (payload) => {
      const run = runOfPayload(payload);
      if (run === undefined || !readable.has(run)) return payload;
      try {
        return (await codec.decode([payload]))[0] ?? payload;
      } catch (error) {
        if (codeOf(error) === "payload_corrupt" || codeOf(error) === "contents_erased") return payload;
        throw error;
      }
    }),
  );
  return { payloads: opened.map(jsonOf) };
}

function payloadOf({ metadata = {}, data }: z.output<typeof body>["payloads"][number]): Payload {
  const fields = Object.entries(metadata).map(([name, text]) => [name, Buffer.from(text, "base64")] as const);
  return { metadata: Object.fromEntries(fields), data: Buffer.from(data ?? "", "base64") };
}

function jsonOf({ metadata, data }: Payload): z.output<typeof body>["payloads"][number] {
  const fields = Object.entries(metadata ?? {}).map(([name, bytes]) => [name, Buffer.from(bytes).toString("base64")]);
  return {
    metadata: Object.fromEntries(fields) as Record<string, string>,
    data: Buffer.from(data ?? Buffer.alloc(0)).toString("base64"),
  };
}
