type Row = { readonly status: number; readonly retryable: boolean };

/**
 * Every code that the API answers with. `retryable`: the same request may go well later, without the caller changing anything.
 * Codes are never given another meaning.
 */
export const errorCodes = {
  invalid_request: { status: 400, retryable: false },
  invalid_cursor: { status: 400, retryable: false },
  unauthenticated: { status: 401, retryable: false },
  forbidden: { status: 403, retryable: false },
  host_not_allowed: { status: 403, retryable: false },
  not_found: { status: 404, retryable: false },
  agent_not_found: { status: 404, retryable: false },
  release_not_found: { status: 404, retryable: false },
  run_not_found: { status: 404, retryable: false },
  approval_not_found: { status: 404, retryable: false },
  delegation_not_found: { status: 404, retryable: false },
  /** It would give nothing, or to nobody who may decide. */
  delegation_invalid: { status: 422, retryable: false },
  outcome_not_found: { status: 404, retryable: false },
  standing_grant_not_found: { status: 404, retryable: false },
  /** Its terms leave something unsaid, or the policies ask for what cannot be given ahead. */
  standing_grant_invalid: { status: 422, retryable: false },
  /** It is active, was revoked, or its time is up. */
  standing_grant_closed: { status: 409, retryable: false },
  policy_not_found: { status: 404, retryable: false },
  bundle_not_found: { status: 404, retryable: false },
  entry_not_found: { status: 404, retryable: false },
  method_not_allowed: { status: 405, retryable: false },
  run_closed: { status: 409, retryable: false },
  /** The key was used before, for another request. */
  idempotency_conflict: { status: 409, retryable: false },
  /** The request was decided, expired, cancelled or used in the meantime. */
  approval_closed: { status: 409, retryable: false },
  /** This reviewer has decided on the request before. */
  already_decided: { status: 409, retryable: false },
  /** This reviewer's approval of the request fell with its key, and the same statement is signed again; or one is stored that they did not give. Sign a new statement, or have somebody else decide. */
  approval_fallen: { status: 409, retryable: false },
  proposal_not_found: { status: 404, retryable: false },
  /** The proposed activation is in force, or something else was put in force since. */
  proposal_closed: { status: 409, retryable: false },
  /** This server is at another backtest: one at a time, so that runs are not slowed down. */
  backtest_running: { status: 503, retryable: true },
  payload_too_large: { status: 413, retryable: false },
  unsupported_media_type: { status: 415, retryable: false },
  /** The manifest or its tools do not make a release. */
  release_invalid: { status: 422, retryable: false },
  policies_invalid: { status: 422, retryable: false },
  /** The team has no policies in force: its agents could do nothing. */
  no_policies: { status: 409, retryable: false },
  /** The team's active policies do not fit the tools of the release. */
  policies_do_not_fit: { status: 422, retryable: false },
  /** A reviewer's new arguments do not fit the tool. */
  arguments_invalid: { status: 422, retryable: false },
  /** Not a tool call, or nothing was changed in it. */
  not_editable: { status: 422, retryable: false },
  /** There is no question to answer, or there are too many messages already. */
  not_asked: { status: 409, retryable: false },
  statement_invalid: { status: 422, retryable: false },
  /** The policy takes approvals signed with a passkey only: see the request's page. */
  passkey_needed: { status: 422, retryable: false },
  /** The passkey or its enrolment is not one that is taken here. */
  passkey_refused: { status: 422, retryable: false },
  /** Nobody but the owner has confirmed the key yet. */
  key_unconfirmed: { status: 422, retryable: false },
  key_not_found: { status: 404, retryable: false },
  /** Enrolled for somebody else, or revoked before. */
  key_taken: { status: 409, retryable: false },
  /** An admin has to, who is neither the key's owner nor who proposed it. */
  second_person_needed: { status: 403, retryable: false },
  too_many_keys: { status: 409, retryable: false },
  /** The request comes from a page of another origin. */
  origin_not_allowed: { status: 403, retryable: false },
  signature_invalid: { status: 422, retryable: false },
  key_unknown: { status: 422, retryable: false },
  /** The reviewer may not decide on this request: not in a group it asks for, or the one who started the run, for whom it acts, or who registered its release. */
  not_eligible: { status: 403, retryable: false },
  /** An AuthZEN access request that belongs to no decision. */
  denial_not_bound: { status: 400, retryable: false },
  denial_expired: { status: 410, retryable: false },
  not_requestable: { status: 400, retryable: false },
  submission_differs: { status: 409, retryable: false },
  task_expired: { status: 410, retryable: false },
  receiver_not_found: { status: 404, retryable: false },
  /** The receiver was removed, or is disabled. */
  receiver_closed: { status: 409, retryable: false },
  /** No mail server is set up. */
  mail_not_set_up: { status: 422, retryable: false },
  /** Notices are not sent to such an address: not public and not allowed by the operator, or not https. */
  address_refused: { status: 422, retryable: false },
  /** A legal hold stands on whom or what was to be erased. */
  legal_hold: { status: 409, retryable: false },
  hold_not_found: { status: 404, retryable: false },
  /** Contents of a run at work, or of one whose history is being archived, are not erased. */
  run_open: { status: 409, retryable: false },
  nothing_to_erase: { status: 404, retryable: false },
  /** The contents that it takes were erased. */
  contents_erased: { status: 410, retryable: false },
  /** Whoever wraps data keys could not be asked, or refused: nothing is read or written. */
  key_provider_failed: { status: 503, retryable: true },
  internal: { status: 500, retryable: false },
  temporal_unavailable: { status: 503, retryable: true },
  database_unavailable: { status: 503, retryable: true },
  /** No checkpoint has been signed yet. */
  not_signed_yet: { status: 503, retryable: true },
} as const satisfies Record<string, Row>;

export type ErrorCode = keyof typeof errorCodes;

export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorCodes, code);
}
