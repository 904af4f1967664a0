import {
  barOf,
  editKind,
  groupsAfter,
  keyIdOf,
  readSigned,
  subjectNames,
  verifyText,
} from "../../approvals/offline.ts";
import type { ApprovalId } from "../../core/ids.ts";
import type { JsonObject } from "../../core/json.ts";
import type { LedgerEntry } from "../../core/ledger-event.ts";
import type { ApprovalRecord, EditRecord, RunRecord } from "../../core/run-record.ts";
import { withEdit } from "../../gate/offline.ts";
import type { EditedStep, ResolvedStep } from "../../gate/offline.ts";
import { sha256 } from "../../store/canonical.ts";
import { capacityFacts } from "./delegated.ts";
import { differences, timeDifference } from "../differences.ts";
import { separationProblem } from "./separation.ts";

/** The edit whose action a request is about. */
export function editBehind(record: RunRecord, request: ApprovalId): EditRecord | undefined {
  return (record.edits ?? []).find(({ successor }) => successor === request);
}

/** The action that a request has to be about: the step's own, or what a reviewer made of it. */
export function actionOf(record: RunRecord, request: ApprovalRecord): string | undefined {
  return editBehind(record, request.id)?.action ?? record.steps.find(({ seq }) => seq === request.seq)?.action;
}

/** The call as a reviewer changed it, from what they signed. Throws where that does not hold. */
export function editedAgain(record: RunRecord, step: ResolvedStep, request: ApprovalId): EditedStep {
  const edit = (record.edits ?? []).find((candidate) => candidate.request === request);
  if (edit === undefined) throw new Error(`the edit of \`${request}\` is not recorded`);
  const problem = problemOf(record, edit);
  if (problem !== undefined) throw new Error(`the edit of \`${request}\`: ${problem}`);
  const args = record.payloads[edit.arguments] as JsonObject;
  const reason = readSigned(editKind, edit.statement)?.reason ?? "";
  if (step.kind !== "tool") throw new Error("only tool calls are edited");
  const edited = withEdit(step, args, edit.action, { request, reviewer: edit.reviewer, reason, original: step });
  if (edited === undefined) throw new Error(`the edit of \`${request}\` makes another action`);
  return edited;
}

/** Every edit that is recorded: the signature, that it is on this very request, and who made it. */
export function editProblems(record: RunRecord, contents = true): readonly string[] {
  return (record.edits ?? []).flatMap((edit) => {
    const problem = problemOf(record, edit, contents);
    return problem === undefined ? [] : [`${edit.reviewer}'s edit of \`${edit.request}\`: ${problem}`];
  });
}

function problemOf(record: RunRecord, edit: EditRecord, contents = true): string | undefined {
  if (keyIdOf(edit.publicKey) !== edit.keyId) return "the key is not the one that it names";
  if (!verifyText(editKind.type, edit.statement, edit.signature, edit.publicKey))
    return "the signature does not verify";
  const statement = readSigned(editKind, edit.statement);
  const request = record.approvals.find(({ id }) => id === edit.request);
  if (statement === undefined || request === undefined) return "the statement or its request is missing";
  if (statement.request !== request.id || statement.run !== record.run.id || statement.seq !== request.seq)
    return "it is on another request";
  if (statement.action !== request.action || statement.action !== actionOf(record, request))
    return "it is on another action";
  if (statement.team !== record.run.team || statement.expiresAt !== request.expiresAt) return "it is on other terms";
  if (statement.edited !== edit.action || statement.arguments !== edit.arguments) return "it is to another action";
  if (contents && !(edit.arguments in record.payloads)) return "the new arguments are missing";
  if (contents && !(statement.rendered in record.payloads)) return "what the reviewer was shown is missing";
  if (statement.reviewer !== edit.reviewer) return "the statement says something else";
  if (request.requirements.some(({ signed }) => signed !== undefined)) return "its policy takes a passkey only";
  const names = [...edit.editors, ...edit.persons, edit.reviewer];
  if (names.includes(record.run.requestedBy)) return "the reviewer is who asked for the run";
  const bar = barOf(request.barred ?? [], names);
  if (bar !== undefined) return `\`${bar.person}\` is the ${bar.because}`;
  if (subjectNames(record.input).some((name) => names.includes(name))) return "it is by whom the run acts for";
  if (request.state !== "cancelled") return `its request is ${request.state}`;
  const before = editBehind(record, request.id);
  const { capacity } = edit;
  const own = capacity === undefined ? [] : [capacity.person, capacity.delegation?.person ?? capacity.person];
  const isWhole =
    [...(before?.editors ?? []), edit.reviewer].every((editor) => edit.editors.includes(editor)) &&
    [...(before?.persons ?? []), ...own].every((person) => edit.persons.includes(person)) &&
    edit.persons.length > 0;
  if (!isWhole) return "not all who changed the call are named";
  if (capacity === undefined) return undefined;
  const wanted = request.requirements.flatMap((one) =>
    groupsAfter(one, Date.parse(capacity.at) - Date.parse(request.openedAt)),
  );
  if (!capacity.groups.some((group) => wanted.includes(group))) return "it is by nobody of a group that was asked";
  return separationProblem(record, request, edit.reviewer, capacity);
}

/** The same against the ledger, both ways. `entries` are of this request. */
export function editedProblems(
  record: RunRecord,
  request: ApprovalRecord,
  entries: readonly LedgerEntry[],
): readonly string[] {
  const edit = (record.edits ?? []).find((candidate) => candidate.request === request.id);
  const [edited, ...more] = entries.filter(({ kind }) => kind === "approval.edited");
  if (more.length > 0) return ["it was edited more than once in the ledger"];
  if (edit === undefined) return edited === undefined ? [] : ["it was edited in the ledger, not in the record"];
  if (edited === undefined) return [`${edit.reviewer}'s edit is not in the ledger`];
  const { reviewer, keyId, signature, statement, capacity } = edit;
  const { seq, action } = request;
  const what = `${reviewer}'s edit`;
  const said = differences(what, edited, {
    seq,
    action,
    edited: edit.action,
    arguments: edit.arguments,
    reviewer,
    persons: edit.persons,
    keyId,
    signature,
    statement: sha256(statement),
    ...capacityFacts(capacity),
  });
  return capacity === undefined ? said : [...said, ...timeDifference(what, edited, capacity.at)];
}
