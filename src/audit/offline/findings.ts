/** What an offline verification found. Codes are never given another meaning: `docs/evidence-format.md` lists them. */

export const findingCodes = {
  manifest_malformed: "the manifest is missing, or is not of this format",
  unknown_need: "the bundle needs something that this verifier does not know",
  path_unsafe: "a path leads out of the bundle, or is written in another way than paths are",
  not_a_file: "something in the bundle is a link, a device or a folder where a file should be",
  file_missing: "a file that the manifest names is not there",
  file_too_large: "a file is larger than such a file may be, or than the manifest says",
  file_changed: "a file is not the one that the manifest names",
  not_canonical: "a JSON file is not RFC 8785: a second spelling, a duplicate key, a broken character",
  malformed: "a file has not the shape that the format gives it",
  content_mismatch: "something has other contents than its digest says",
  content_missing: "contents that the bundle says it has are not there",
  log_untrusted: "the trust file has no key for the log",
  signature_missing: "the checkpoint has no signature of a trusted key",
  signature_invalid: "the signature of a trusted key does not fit the checkpoint",
  checkpoint_malformed: "the checkpoint cannot be read, or is of another log",
  retired_unproven: "only a retired key signed the checkpoint, and it is neither pinned nor cosigned",
  checkpoint_stale: "no trusted witnesses say that the checkpoint is as new as asked for",
  witness_quorum: "fewer trusted witnesses than asked for have signed the checkpoint",
  entry_malformed: "a leaf is not a canonical entry",
  entry_order: "leaves are not in the order of their indexes, or one comes twice",
  leaf_count: "there are more or fewer leaves than the checkpoint or the proofs say",
  root_mismatch: "the leaves do not have the signed root",
  not_included: "an inclusion proof does not lead to the signed root",
  not_covered: "an entry is newer than the checkpoint",
  rolled_back: "the checkpoint is older than one that was seen before",
  log_rewritten: "the log did not grow out of the checkpoint that was seen before",
  pin_unproven: "the bundle cannot show that the log grew out of the checkpoint that was seen before",
  run_gap: "the chain of a run's entries is broken: one is missing, moved or replaced",
  run_not_closed: "the record says that the run is closed, its entries do not",
  run_count: "a run's closing entry counts other steps or costs than its entries",
  entry_after_close: "a run has an entry after the one that closed it",
  intent_without_decision: "something was begun that no recorded decision allowed",
  intent_without_end: "something was begun, and its end is not recorded although the run is closed",
  result_without_intent: "something ended that was not begun",
  not_cosigned: "a call that had to wait for witnesses was made before they had cosigned its intent",
  cosigning_unproven: "the bundle or the trust file lacks what shows that witnesses cosigned an intent before the call",
  approval_out_of_order: "an approval was decided or used without having been asked for or granted",
  standing_grant_exceeded:
    "a standing grant was used more often, for more, at another time, or otherwise than was agreed",
  policy_not_in_force: "a decision was made under a policy set that was not in force then",
  cost_differs: "what a step cost, or what the run had spent, held or was allowed, comes out otherwise",
  record_differs: "the run's record says something else than its ledger entries",
  decision_differs: "a recorded decision, made again, comes out otherwise",
  approval_invalid: "a signed approval does not hold: signature, statement, action, quorum",
  self_approval: "who asked for the run approved it",
  approval_late: "an approval was given, or used, when its time was up",
  key_untrusted: "an approval is signed with a key that the trust file does not know",
  key_of_another: "an approval is signed with the key of somebody else",
  key_not_enrolled: "the signing key is not in the log of enrolments",
  key_not_yet_enrolled: "an approval is signed with a key that was enrolled later",
  key_unconfirmed: "the signing key was confirmed by its owner, or by who enrolled it: by no second person",
  key_revoked: "an approval is signed with a key that was revoked before",
  delegation_unfounded:
    "an approval for somebody else has no delegation in the log of enrolments that was in force then",
  not_in_group: "an approval is by somebody who is not in the group that had to agree",
  quorum_not_met: "fewer members of a group agreed than had to",
  enrolled_twice: "the log of enrolments has two entries of one key, where there can be one",
  enrolment_unproven: "the bundle or the trust file lacks what shows whose the signing key was",
  history_foreign: "a workflow history is not this run's, or its parts do not follow each other",
  seal_differs: "a workflow history is not the one that was sealed in the ledger when it ended",
  end_differs: "the run's record tells of another end than its workflow history has",
  history_cut: "a workflow history stops before the run's end",
  history_lost: "a workflow history is not here: Temporal deleted it before it was archived, or so it is told",
  loss_unfounded: "a workflow history is told to be lost which is here, was sealed, or is none of this run's",
  not_sealed: "the ledger's seal of a workflow history that has ended is not here",
  intent_without_history: "something was begun that the workflow history does not have",
  history_without_record: "the workflow history has a step that is not recorded",
  statement_unsigned: "the in-toto statement is not signed by a trusted key",
  statement_differs: "the in-toto statement is not what the entries say",
  report_differs: "the report shows something else than the bundle holds",
  page_unlisted: "the folder has a page for people that is not the bundle's report",
  run_missing: "the bundle names a run that it does not hold, or holds one that it does not name",
  required: "the trust file requires something that the bundle does not prove",
} as const;
export type FindingCode = keyof typeof findingCodes;

/** These leave open what is so; every other code refutes. */
const openCodes: ReadonlySet<FindingCode> = new Set([
  "unknown_need",
  "log_untrusted",
  "not_covered",
  "pin_unproven",
  "enrolment_unproven",
  "cosigning_unproven",
  "history_cut",
  "history_lost",
  "not_sealed",
  "witness_quorum",
  "retired_unproven",
  "checkpoint_stale",
  "required",
]);

/** `where`: a file, log, run or entry. Messages hold no contents. */
export type Finding = { readonly code: FindingCode; readonly where: string; readonly message: string };

export const checkNames = [
  "files",
  "checkpoints",
  "witnesses",
  "pinned",
  "leaves",
  "runs",
  "policies",
  "records",
  "costs",
  "approvals",
  "enrolment",
  "contents",
  "decisions",
  "histories",
  "statements",
  "report",
] as const;
export type CheckName = (typeof checkNames)[number];

export type OfflineCheck = {
  readonly name: CheckName;
  /** `not_made`: the bundle does not have what it takes, or nobody asked for it. It does not count against the bundle. */
  readonly status: "passed" | "failed" | "incomplete" | "not_made";
  readonly detail: string;
  readonly findings: readonly Finding[];
};

/** The most findings that one check keeps: a broken log has one for each entry. */
const kept = 100;

/** Collects what checks find. */
export class Findings {
  readonly #found = new Map<CheckName, Finding[]>();
  readonly #more = new Map<CheckName, number>();

  add(check: CheckName, code: FindingCode, where: string, message: string = findingCodes[code]): void {
    const list = this.#found.get(check) ?? [];
    this.#found.set(check, list);
    if (list.length < kept || (!openCodes.has(code) && list.every((one) => openCodes.has(one.code))))
      list.push({ code, where, message });
    else this.#more.set(check, (this.#more.get(check) ?? 0) + 1);
  }

  has(check: CheckName): boolean {
    return this.#found.has(check);
  }

  /** What was found under a check's name; where nothing was, it passed with `detail`, or was not made. */
  check(name: CheckName, detail: string, made = true): OfflineCheck {
    const findings = this.#found.get(name) ?? [];
    const more = this.#more.get(name) ?? 0;
    if (findings.length === 0) return { name, status: made ? "passed" : "not_made", detail, findings };
    const failed = findings.some(({ code }) => !openCodes.has(code));
    const count = `${findings.length + more} found`;
    return { name, status: failed ? "failed" : "incomplete", detail: count, findings };
  }
}
