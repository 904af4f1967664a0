import type { FastifyError } from "fastify";
import { hasZodFastifySchemaValidationErrors } from "fastify-type-provider-zod";

import { ApiError } from "../api/index.ts";
import type { ErrorCode } from "../api/index.ts";
import { CodedError, codeOf } from "../core/errors.ts";

/** Codes of rooms that a caller can act on, as the API says them. Every other failure is `internal`. */
const roomCodes: Readonly<Record<string, ErrorCode>> = {
  temporal_unavailable: "temporal_unavailable",
  database_unavailable: "database_unavailable",
  policies_invalid: "policies_invalid",
  tools_invalid: "release_invalid",
  release_invalid: "release_invalid",
  release_missing: "release_not_found",
  not_in_log: "entry_not_found",
  run_not_found: "run_not_found",
  request_missing: "approval_not_found",
  request_not_pending: "approval_closed",
  request_expired: "approval_closed",
  statement_malformed: "statement_invalid",
  statement_mismatch: "statement_invalid",
  signature_invalid: "signature_invalid",
  key_unknown: "key_unknown",
  key_revoked: "key_unknown",
  key_unconfirmed: "key_unconfirmed",
  key_missing: "key_not_found",
  key_malformed: "invalid_request",
  key_taken: "key_taken",
  too_many_keys: "too_many_keys",
  second_person_needed: "second_person_needed",
  passkey_needed: "passkey_needed",
  passkey_refused: "passkey_refused",
  passkey_replayed: "signature_invalid",
  challenge_unknown: "passkey_refused",
  not_in_group: "not_eligible",
  self_approval: "not_eligible",
  decided_before: "already_decided",
  approval_fallen: "approval_fallen",
  delegation_missing: "delegation_not_found",
  delegation_invalid: "delegation_invalid",
  nothing_changed: "not_editable",
  nothing_asked: "not_asked",
  too_many_messages: "not_asked",
  standing_missing: "standing_grant_not_found",
  standing_invalid: "standing_grant_invalid",
  standing_closed: "standing_grant_closed",
  not_canonical: "invalid_request",
  payload_too_large: "payload_too_large",
  contents_erased: "contents_erased",
  key_provider_failed: "key_provider_failed",
  receiver_missing: "receiver_not_found",
  receiver_closed: "receiver_closed",
  address_refused: "address_refused",
};

const fastifyCodes: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: "payload_too_large",
  FST_ERR_CTP_INVALID_MEDIA_TYPE: "unsupported_media_type",
  FST_ERR_CTP_EMPTY_JSON_BODY: "invalid_request",
  FST_ERR_CTP_INVALID_JSON_BODY: "invalid_request",
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: "invalid_request",
};

/** What a caller is told of `error`. Nothing of an unexpected one but where to look. */
export function asApiError(error: unknown, requestId: string): ApiError {
  if (error instanceof ApiError) return error;
  if (hasZodFastifySchemaValidationErrors(error)) return invalidRequest(error);
  const code = codeOf(error);
  if (code !== undefined && error instanceof CodedError && roomCodes[code] !== undefined) {
    return new ApiError(roomCodes[code], error.message, hinted(error.hint));
  }
  if (code !== undefined && fastifyCodes[code] !== undefined) {
    return new ApiError(fastifyCodes[code], lowerFirst((error as Error).message));
  }
  if (isDatabaseFailure(error)) {
    return new ApiError("database_unavailable", "postgres does not answer", {
      hint: "try again; `countersign doctor` looks at it",
    });
  }
  // A body that is not JSON at all.
  if (error instanceof SyntaxError) return new ApiError("invalid_request", "the body is not valid JSON");
  return new ApiError("internal", `the server failed on request ${requestId}`, {
    cause: error,
    hint: "the server's log says why, under that request id",
  });
}

function invalidRequest(error: FastifyError): ApiError {
  const place =
    { params: "path", querystring: "query", body: "body", headers: "headers" }[String(error.validationContext)] ??
    "request";
  const [issue, ...others] = error.validation ?? [];
  const path = issue?.instancePath.replaceAll("/", ".").replace(/^\./, "") ?? "";
  const more = others.length === 0 ? "" : ` (and ${others.length} more)`;
  const where = path === "" ? place : `${place} \`${path}\``;
  return new ApiError("invalid_request", `${where}: ${lowerFirst(issue?.message ?? "does not fit")}${more}`, {
    hint: "see /openapi.json for what the route takes",
  });
}

/** Connection failures of `pg` and of Postgres itself: classes 08 (connection), 53 (resources) and 57 (operator intervention). */
function isDatabaseFailure(error: unknown): boolean {
  const code = codeOf(error);
  if (code !== undefined && /^(08|53|57)[0-9A-Z]{3}$/.test(code)) return true;
  if (code !== undefined && ["ECONNREFUSED", "ECONNRESET", "ENOTFOUND", "EPIPE", "ETIMEDOUT", "ENOENT"].includes(code))
    return true;
  return error instanceof Error && /timeout exceeded when trying to connect|Connection terminated/.test(error.message);
}

function hinted(hint: string | undefined): { hint?: string } {
  return hint === undefined ? {} : { hint };
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1).replace(/\.$/, "");
}
