import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { play } from "./script-play.ts";
import { ScriptError } from "./script.schema.ts";
import type { Script } from "./script.schema.ts";
import { FaultCounter, send, sendJson } from "./scripted-faults.ts";
import { chatRequestSchema, errorJson, messagesOf, wireAnswer } from "./scripted-wire.ts";
import type { ChatRequest } from "./scripted-wire.ts";

/** Finds a model's script. `models`, where it is known, is listed at `GET /v1/models`. */
export type ScriptSource = ((model: string) => Script | undefined) & { readonly models?: readonly string[] };

/** A source of these scripts, each for the model that it names. */
export function scriptSource(scripts: readonly Script[]): ScriptSource {
  const byModel = new Map(scripts.map((script) => [script.model, script]));
  return Object.assign((model: string) => byModel.get(model), { models: [...byModel.keys()] });
}

export type ScriptedModelOptions = {
  /** The first that knows a model plays it. */
  readonly scripts: readonly ScriptSource[];
  /** Default: a free one. */
  readonly port?: number;
  /** Set: requests without this bearer token are refused with 401. */
  readonly apiKey?: string;
};

export type ScriptedModel = {
  /** The base URL for a model provider, `/v1` included. */
  readonly url: string;
  readonly port: number;
  /** Ends open answers too. */
  close(): Promise<void>;
};

const maxRequestBytes = 32 * 1024 * 1024;

/**
 * A model that plays scripts, as a server of OpenAI's chat-completions protocol on loopback: the same client code runs as against a
 * real one. Throws `port_taken`.
 */
export async function startScriptedModel(options: ScriptedModelOptions): Promise<ScriptedModel> {
  const faults = new FaultCounter();
  const server = createServer((request, response) => {
    handle(options, faults, request, response).catch(() => {
      if (!response.headersSent) sendJson(response, 500, errorJson("server_error", null, "the scripted model failed"));
      else response.destroy();
    });
  });
  await listen(server, options.port ?? 0);
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/v1`, port, close: () => close(server) };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) =>
      reject(
        new ScriptError("port_taken", `scripted model cannot listen on 127.0.0.1:${port}`, {
          cause,
          hint: "another program has the port: stop it, or choose another port",
        }),
      ),
    );
    server.listen(port, "127.0.0.1", resolve);
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

async function handle(
  options: ScriptedModelOptions,
  faults: FaultCounter,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (options.apiKey !== undefined && request.headers.authorization !== `Bearer ${options.apiKey}`) {
    return sendJson(
      response,
      401,
      errorJson("invalid_request_error", "invalid_api_key", "the API key is not the expected one"),
    );
  }
  const route = `${request.method} ${new URL(request.url ?? "/", "http://127.0.0.1").pathname}`;
  if (route === "GET /v1/models") return sendModels(options, response);
  if (route === "POST /v1/chat/completions") return answerChat(options, faults, request, response);
  return sendJson(
    response,
    404,
    errorJson("invalid_request_error", null, "there are POST /v1/chat/completions and GET /v1/models"),
  );
}

function sendModels(options: ScriptedModelOptions, response: ServerResponse): void {
  const data = options.scripts
    .flatMap((source) => source.models ?? [])
    .map((id) => ({ id, object: "model", created: 0, owned_by: "countersign" }));
  sendJson(response, 200, { object: "list", data });
}

async function answerChat(
  options: ScriptedModelOptions,
  faults: FaultCounter,
  incoming: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const request = await readRequest(incoming);
  if (typeof request === "string") return sendJson(response, 400, errorJson("invalid_request_error", null, request));
  const script = options.scripts.map((source) => source(request.model)).find((found) => found !== undefined);
  if (script === undefined) {
    return sendJson(
      response,
      404,
      errorJson("invalid_request_error", "model_not_found", "there is no script for this model"),
    );
  }
  const messages = messagesOf(request);
  const next = play(script, messages);
  if (next.kind === "stuck")
    return sendJson(response, 400, errorJson("invalid_request_error", "script_stuck", next.message));
  const fault = faults.strike(next.key, next.turn.fault);
  return send(response, { request, answer: wireAnswer(request, messages, next), delayMs: next.turn.delayMs, fault });
}

/** The request, or what is wrong with it. */
async function readRequest(incoming: IncomingMessage): Promise<ChatRequest | string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of incoming as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > maxRequestBytes) return `the request exceeds ${maxRequestBytes} bytes`;
    parts.push(part);
  }
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(parts).toString("utf8"));
  } catch {
    return "the request is not JSON";
  }
  const parsed = chatRequestSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  return `${issue?.path.map(String).join(".") || "request"}: ${issue?.message ?? "unexpected"}`;
}
