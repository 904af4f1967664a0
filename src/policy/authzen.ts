import type { Decision } from "../core/decision.ts";
import { CodedError } from "../core/errors.ts";
import type { Json, JsonObject } from "../core/json.ts";
import { endpointBelow } from "./endpoint.ts";
import { actionNamed } from "./request.ts";
import type { PolicyRequest } from "./request.ts";

/** A remote decision point that cannot be asked as it is configured. Messages hold no secrets. */
export class RemoteError extends CodedError<"remote_misconfigured"> {}

/** Where the decision point is. The token is behind a function, so that nothing that prints the options prints it. */
export type RemoteOptions = {
  readonly endpoint: URL;
  readonly timeoutMs: number;
  readonly token: () => string | undefined;
};

export type RemoteAnswer =
  | { readonly decision: "allow" }
  /** `undecidable`: it gave no answer that counts as one. `reason` is one line, at most 300 characters. */
  | { readonly decision: "deny"; readonly code: "forbidden" | "undecidable"; readonly reason: string };

/** The id under which a denial by the remote decision point is recorded: as the gate's own, since no policy of ours determined it. */
export const remotePolicy = "gate:remote";

const defaultTimeoutMs = 500;
const maxTimeoutMs = 30_000;
const maxAnswerBytes = 64 * 1024;
const maxReason = 300;
const evaluationPath = "/access/v1/evaluation";

/**
 * The decision point of the environment, or undefined where none is configured: `COUNTERSIGN_AUTHZEN_URL` is its base (https, except on
 * loopback), `COUNTERSIGN_AUTHZEN_TOKEN` a bearer token, `COUNTERSIGN_AUTHZEN_TIMEOUT_MS` how long it may take (500). Throws
 * `remote_misconfigured`: a worker that was told to ask must not start without.
 */
export function remoteOptionsOf(env: Readonly<Record<string, string | undefined>>): RemoteOptions | undefined {
  const base = env["COUNTERSIGN_AUTHZEN_URL"];
  if (base === undefined || base === "") return undefined;
  const token = env["COUNTERSIGN_AUTHZEN_TOKEN"];
  if (token !== undefined && !/^[\x21-\x7e]*$/.test(token)) {
    throw new RemoteError("remote_misconfigured", "COUNTERSIGN_AUTHZEN_TOKEN has characters that no token has");
  }
  const timeoutMs = Number(env["COUNTERSIGN_AUTHZEN_TIMEOUT_MS"] ?? defaultTimeoutMs);
  if (!Number.isInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > maxTimeoutMs) {
    throw new RemoteError(
      "remote_misconfigured",
      `COUNTERSIGN_AUTHZEN_TIMEOUT_MS: expected milliseconds from 1 to ${maxTimeoutMs}`,
    );
  }
  return {
    endpoint: endpointBelow(base, evaluationPath, refused),
    timeoutMs,
    token: () => (token === "" ? undefined : token),
  };
}

function refused(expected: string): RemoteError {
  return new RemoteError("remote_misconfigured", `COUNTERSIGN_AUTHZEN_URL: expected ${expected}`, {
    hint: "give one like https://pdp.example.com",
  });
}

/** A step as OpenID AuthZEN's Authorization API 1.0 asks about it (section 6.1): openid.net/specs/authorization-api-1_0.html. */
export function evaluationRequest({ agent, run, step, facts }: PolicyRequest): JsonObject {
  const { team, name, ...properties } = agent;
  const subject: JsonObject = run.subject === undefined ? {} : { subject: { ...run.subject } };
  return {
    subject: { type: "agent", id: `${team}/${name}`, properties: { team, name, ...properties } },
    action: remoteAction(step),
    resource: { type: "run", id: run.id, properties: { requestedBy: run.requestedBy, ...subject } },
    context: facts as unknown as JsonObject,
  };
}

function remoteAction(step: PolicyRequest["step"]): JsonObject {
  switch (step.kind) {
    case "model":
      return { name: "model", properties: { model: step.model, maxOutputTokens: step.maxOutputTokens } };
    case "response":
      return { name: "response", properties: { model: step.model, ...(step.response as unknown as JsonObject) } };
    case "tool":
    case "retrieval":
      return { name: actionNamed(step), properties: { arguments: step.arguments } };
  }
}

/**
 * Asks the remote decision point about a step. Never throws: a time-out, a refused connection, a redirect, another status than 200, an
 * answer that is too long, no JSON, or without a `decision` of true or false, are all denials.
 */
export async function askRemote(options: RemoteOptions, request: PolicyRequest): Promise<RemoteAnswer> {
  const { endpoint, timeoutMs } = options;
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const token = options.token();
    const answer = await fetch(endpoint, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        accept: "application/json",
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify(evaluationRequest(request)),
      // A redirect could lead anywhere, and would take the arguments along.
      redirect: "manual",
      signal,
    });
    if (answer.status !== 200) {
      await answer.body?.cancel();
      return noAnswer(`the remote decision point answered with status ${answer.status}`);
    }
    const text = await readBounded(answer);
    return text === undefined ? noAnswer("the remote decision point's answer is too long") : answerOf(text);
  } catch {
    return noAnswer(
      signal.aborted
        ? `the remote decision point did not answer in ${timeoutMs} ms`
        : "the remote decision point cannot be reached",
    );
  }
}

/** Undefined where it is longer than {@link maxAnswerBytes}; no more than that is ever held. */
async function readBounded(answer: Response): Promise<string | undefined> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of answer.body ?? []) {
    length += piece.length;
    if (length > maxAnswerBytes) return undefined;
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString("utf8");
}

function answerOf(text: string): RemoteAnswer {
  const value = parsed(text);
  const decision = isObject(value) ? value["decision"] : undefined;
  if (decision === true) return { decision: "allow" };
  if (decision !== false) return noAnswer("the remote decision point's answer has no decision");
  return { decision: "deny", code: "forbidden", reason: reasonIn(isObject(value) ? value["context"] : undefined) };
}

/** What the answer says for people, if anything: `context.reason`, or the first text of `reason_user`. It is somebody else's text. */
function reasonIn(context: Json | undefined): string {
  const { reason, reason_user: forUser } = isObject(context) ? context : {};
  const said = [reason, ...(isObject(forUser) ? Object.values(forUser) : [forUser])].find(
    (value) => typeof value === "string",
  );
  const line =
    typeof said === "string"
      ? said
          .toWellFormed()
          .replace(/[\p{Cc}\p{Cf}\s]+/gu, " ")
          .trim()
      : "";
  return `denied by the remote decision point${line === "" ? "" : `: ${line}`}`.slice(0, maxReason).toWellFormed();
}

function noAnswer(reason: string): RemoteAnswer {
  return { decision: "deny", code: "undecidable", reason };
}

/** The decision with the remote's answer: it may only narrow. What is denied here is denied whatever it says. */
export function narrowed(decision: Decision, answer: RemoteAnswer): Decision {
  if (decision.outcome === "deny" || answer.decision === "allow") return decision;
  return { outcome: "deny", code: answer.code, policies: [{ policy: remotePolicy, text: answer.reason }] };
}

function parsed(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
