import { z } from "zod";

import { digestPattern, namePattern, runIdPattern } from "../../core/ids.ts";

export const evidenceFormat = "countersign/evidence/v1";
/** A need: contents are named by commitments under a salt in the run's record, and may be erased. */
export const saltedContents = "erasure";
export const trustFormat = "countersign/trust/v1";

/**
 * A path inside a bundle: segments of letters, digits, `.`, `_` and `-` that begin with a letter or digit, at most six. So no `..`, no
 * absolute path, no drive, no hidden file, no second spelling.
 */
export const pathPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,120}(\/[A-Za-z0-9][A-Za-z0-9._-]{0,120}){0,5}$/;

const path = z.string().max(400).regex(pathPattern);
const digest = z.string().regex(digestPattern);
const name = z.string().regex(namePattern);
const time = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
const count = z.int().min(0);

const logSection = z.strictObject({
  log: name,
  origin: z.string().min(1).max(300),
  /** The signed note that everything of this log is proved against. */
  checkpoint: path,
  /** Leaves in the order of their indexes, each followed by a line feed. */
  leaves: path,
  /** `full`: every leaf from index 0 on. `selected`: those that `proofs` gives index and audit path of, line by line. */
  coverage: z.enum(["full", "selected"]),
  proofs: path.optional(),
  /** Older signed checkpoints, each with the proof that the log grew out of it. */
  old: z.array(z.strictObject({ size: z.int().min(1), checkpoint: path, consistency: path })).max(100_000),
});

const runSection = z.strictObject({
  run: z.string().regex(runIdPattern),
  log: name,
  record: path,
  histories: z.array(z.strictObject({ temporalRunId: z.string().min(1).max(200), file: path })).max(10_000),
  statement: path.optional(),
});

export const caseSection = z.strictObject({
  id: z.string().min(1).max(200).optional(),
  title: z.string().max(500).optional(),
  note: z.string().max(20_000).optional(),
});

/** `manifest.json`. Strict: a field that is not understood could change what the others mean. */
export const manifestSchema = z.strictObject({
  format: z.literal(evidenceFormat),
  generator: z.strictObject({ name: z.string().max(100), version: z.string().max(100) }),
  createdAt: time,
  case: caseSection.optional(),
  /** Names of later additions without which a bundle cannot be judged. A verifier that does not know one says `incomplete`. */
  needs: z.array(z.string().min(1).max(100)).max(100),
  /** Later additions that may be passed over, by name. */
  extra: z.record(z.string().max(100), z.unknown()),
  contents: z.enum(["included", "withheld"]),
  logs: z.array(logSection).max(1_000),
  runs: z.array(runSection).max(100_000),
  report: path.optional(),
  files: z.record(path, z.strictObject({ bytes: count, sha256: digest })),
});
export type Manifest = z.output<typeof manifestSchema>;
export type LogSection = z.output<typeof logSection>;
export type RunSection = z.output<typeof runSection>;

const hashes = z.array(digest).max(64);
export const proofsSchema = z.strictObject({
  v: z.literal(1),
  proofs: z.array(z.strictObject({ index: count, path: hashes })),
});
export const consistencySchema = z.strictObject({
  v: z.literal(1),
  from: z.int().min(1),
  to: z.int().min(1),
  path: hashes,
});
export const envelopeSchema = z.strictObject({
  payloadType: z.string(),
  payload: z.string(),
  signatures: z.array(z.strictObject({ keyid: z.string(), sig: z.string() })).max(20),
});

const approver = z.strictObject({
  principal: z.string().min(1).max(200),
  /** SHA-256 of the key's SPKI bytes. */
  keyId: digest,
  /** SPKI, base64. */
  publicKey: z.string().max(2_000),
  /** Of which groups the person was a member; absent: not known, and not checked. */
  groups: z.array(z.string().max(200)).max(200).optional(),
  /** The key counts from then on, and until then. */
  from: time.optional(),
  until: time.optional(),
});

/** What an auditor trusts. It comes from the auditor, never from a bundle. */
export const trustSchema = z.strictObject({
  format: z.literal(trustFormat),
  /** Verifier keys by log; several where the key was rotated. */
  logs: z.record(
    name,
    z.strictObject({
      verifierKeys: z.array(z.string().max(1_000)).min(1).max(20),
      /** Keys of before: they count for checkpoints of at most `untilSize` entries. */
      retiredKeys: z
        .array(z.strictObject({ verifierKey: z.string().max(1_000), untilSize: count }))
        .max(100)
        .optional(),
    }),
  ),
  approvers: z.array(approver).max(100_000),
  /** Sites (WebAuthn's RP ids) whose passkeys count; absent: those that the log of enrolments has. */
  rpIds: z.array(z.string().min(1).max(300)).max(100).optional(),
  /** Witnesses whose cosignatures count, and how many of them a checkpoint needs. */
  witnesses: z.strictObject({ keys: z.array(z.string().max(1_000)).max(100), quorum: count }).optional(),
  /** How old a checkpoint may be, by the times of its cosignatures. */
  maxAgeHours: z.number().positive().max(1_000_000).optional(),
  /** Runs that have to be in the bundle. */
  runs: z.array(z.string().regex(runIdPattern)).max(100_000).optional(),
  /** Checks that have to have been made, beside those that always have. */
  require: z
    .array(z.enum(["witnesses", "pinned", "decisions", "histories", "statements", "contents", "whole-log"]))
    .optional(),
});
export type Trust = z.output<typeof trustSchema>;
export type Approver = Trust["approvers"][number];
