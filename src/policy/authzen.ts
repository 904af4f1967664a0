import { randomUUID } from "node:crypto";

import type { Decision } from "../core/decision.ts";
import { CodedError } from "../core/errors.ts";
import { isObject } from "../core/json.ts";
import type { Json, JsonObject } from "../core/json.ts";
import { canonicalText } from "../store/canonical.ts";
import { endpointBelow, endpointOf } from "./endpoint.ts";
import { postJson } from "./post-json.ts";
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
 * loopback), or `COUNTERSIGN_AUTHZEN_ENDPOINT` the `access_evaluation_endpoint` of its metadata, `COUNTERSIGN_AUTHZEN_TOKEN` a bearer token, `COUNTERSIGN_AUTHZEN_TIMEOUT_MS` how long it may take (500). Throws
 * `remote_misconfigured`: a worker that was told to ask must not start without.
 */
export function remoteOptionsOf(env: Readonly<Record<string, string | undefined>>): RemoteOptions | undefined {
  // Set to nothing is not set.
  const base = env["COUNTERSIGN_AUTHZEN_URL"] || undefined;
  const whole = env["COUNTERSIGN_AUTHZEN_ENDPOINT"] || undefined;
  if (base === undefined && whole === undefined) return undefined;
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
    endpoint: endpointIn(base, whole),
    timeoutMs,
    token: () => (token === "" ? undefined : token),
  };
}

/** Section 10.1: what its metadata says, or below its base. Metadata are not fetched: where arguments go must be seen in the configuration. */
function endpointIn(base: string | undefined, whole: string | undefined): URL {
  const refuse = (name: string, example: string) => (expected: string) =>
    new RemoteError("remote_misconfigured", `COUNTERSIGN_AUTHZEN_${name}: expected ${expected}`, {
      hint: `give one like ${example}`,
    });
  if (whole === undefined) return endpointBelow(base ?? "", evaluationPath, refuse("URL", "https://pdp.example.com"));
  const refused = refuse("ENDPOINT", `https://pdp.example.com${evaluationPath}`);
  if (base !== undefined) throw refused("that, or COUNTERSIGN_AUTHZEN_URL");
  return endpointOf(whole, refused);
}

/**
 * A step as OpenID AuthZEN's Authorization API 1.0 asks about it (section 6.1: openid.net/specs/authorization-api-1_0.html), as the RFC 8785 text
 * that is sent: two steps are asked about alike where it is the same. Undefined for arguments that are nested too deep for it.
 */
export function evaluationRequest(request: PolicyRequest): string | undefined {
  try {
    return canonicalText(evaluationOf(request));
  } catch {
    return undefined;
  }
}

function evaluationOf({ agent, run, step, facts }: PolicyRequest): JsonObject {
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
 * Asks the remote decision point, by the HTTPS binding (section 10.1), an {@link evaluationRequest}. Never throws: whatever {@link postJson}
 * takes for a failure, and an answer that is no decision, is a denial. So is a permit for another request, or on conditions that nobody
 * here fulfils.
 */
export async function askRemote(options: RemoteOptions, request: string): Promise<RemoteAnswer> {
  const { endpoint, timeoutMs } = options;
  const token = options.token();
  const id = randomUUID();
  const answer = await postJson({
    endpoint,
    body: request,
    headers: { "x-request-id": id, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
    timeoutMs,
    maxAnswerBytes,
  });
  if (answer.status === "failed") return noAnswer(answer.reason);
  // It has to come back, though not necessarily there (10.1.3): another one there is the answer to somebody else.
  if ((answer.headers.get("x-request-id") ?? id) !== id) return noAnswer("gave the answer to another request");
  return answerOf(answer.value as Json);
}

/** Section 5.5. */
function answerOf(value: Json): RemoteAnswer {
  const { decision, context } = isObject(value) ? value : {};
  if (typeof decision !== "boolean") return noAnswer("gave an answer without a decision");
  if (!decision) return { decision: "deny", code: "forbidden", reason: reasonIn(context) };
  if (context !== undefined && !isObject(context)) return noAnswer("gave an answer with a context that is no object");
  // Whoever does not do what a permit asks for has no permit: Obligations Profile 1.0 (Draft 1), "Non-compliance".
  return isEmpty(context?.["obligations"])
    ? { decision: "allow" }
    : noAnswer("permits with obligations, which are not fulfilled here");
}

function isEmpty(obligations: Json | undefined): boolean {
  return obligations === undefined || (Array.isArray(obligations) && obligations.length === 0);
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

/** What stands for an answer where there is none that counts. `why` goes on from the decision point's name. */
export function noAnswer(why: string): RemoteAnswer {
  return { decision: "deny", code: "undecidable", reason: `the remote decision point ${why}` };
}

/** The decision with the remote's answer: it may only narrow. What is denied here is denied whatever it says. */
export function narrowed(decision: Decision, answer: RemoteAnswer): Decision {
  if (decision.outcome === "deny" || answer.decision === "allow") return decision;
  return { outcome: "deny", code: answer.code, policies: [{ policy: remotePolicy, text: answer.reason }] };
}
