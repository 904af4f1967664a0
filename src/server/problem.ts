import { bodyOf } from "../api/index.ts";
import type { ApiError } from "../api/index.ts";

const accessRequests = "/access/v1/requests";
const urn = "urn:openid:authzen:access-request:error";

/** The problem types of AuthZEN's Access Request and Approval Profile, "Error Responses". */
const types: Readonly<Record<string, string>> = {
  denial_not_bound: `${urn}:invalid_denial_binding`,
  denial_expired: `${urn}:expired_denial`,
  not_requestable: `${urn}:not_requestable`,
  submission_differs: `${urn}:duplicate_request`,
  task_expired: `${urn}:task_expired`,
  approval_not_found: `${urn}:unknown_task`,
};

/** Whether the route's errors are problems (RFC 9457). */
export function speaksProblems(route: string | undefined): boolean {
  return route?.startsWith(accessRequests) === true;
}

/** A refusal as a problem; `error` is the one that every other route answers with. */
export function problemOf(refusal: ApiError, status: number) {
  return { type: types[refusal.code] ?? "about:blank", title: refusal.message, status, ...bodyOf(refusal) };
}
