import type { VerifierKey } from "../../ledger/proof/index.ts";
import { parseCosignerKey, parseVerifierKey, ProofError } from "../../ledger/proof/index.ts";
import { canonicalText, sha256 } from "../../store/canonical.ts";
import { EvidenceError } from "./errors.ts";
import { trustSchema } from "./manifest.schema.ts";
import type { Approver, Trust } from "./manifest.schema.ts";

/** What an auditor trusts, with its keys ready. */
export type TrustRoots = {
  /** All keys of a log, retired ones too. */
  readonly keysOf: (log: string) => readonly VerifierKey[];
  readonly currentKeysOf: (log: string) => readonly VerifierKey[];
  /** Those that count for a checkpoint of `size` entries. */
  readonly keysAt: (log: string, size: number) => readonly VerifierKey[];
  /** Names of all logs' keys: the origins of their checkpoints. */
  readonly origins: ReadonlySet<string>;
  readonly approver: (keyId: string) => Approver | undefined;
  readonly hasApprovers: boolean;
  readonly rpIds: ReadonlySet<string> | undefined;
  readonly witnesses: readonly VerifierKey[];
  readonly quorum: number;
  readonly maxAgeHours: number | undefined;
  readonly runs: readonly string[];
  readonly required: ReadonlySet<string>;
};

/** Reads a trust file's text. Throws `trust_unreadable`, saying what is wrong with it: nothing is verified against half a trust file. */
export function parseTrust(text: string): TrustRoots {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw unreadable("it is not JSON", cause);
  }
  if (JSON.stringify(value).length !== withoutSpace(text).length)
    throw unreadable("a key stands in it twice, or a text is spelled in an unusual way");
  const parsed = trustSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw unreadable(`\`${issue?.path.join(".") ?? ""}\`: ${issue?.message ?? ""}`);
  }
  return rootsOf(parsed.data);
}

function rootsOf(trust: Trust): TrustRoots {
  const logs = new Map(
    Object.entries(trust.logs).map(([log, { verifierKeys, retiredKeys = [] }]) => {
      const read = (key: string) => readable(() => parseVerifierKey(key), `the verifier key of log \`${log}\``);
      if (retiredKeys.some(({ verifierKey }) => verifierKeys.includes(verifierKey)))
        throw unreadable(`a key of log \`${log}\` is retired, and is not`);
      const retired = retiredKeys.map(({ verifierKey, untilSize }) => ({ key: read(verifierKey), untilSize }));
      return [log, { current: verifierKeys.map(read), retired }];
    }),
  );
  const keysAt = (log: string, size: number): readonly VerifierKey[] => {
    const { current = [], retired = [] } = logs.get(log) ?? {};
    return [...current, ...retired.flatMap(({ key, untilSize }) => (size <= untilSize ? [key] : []))];
  };
  const approvers = new Map<string, Approver>();
  for (const approver of trust.approvers) {
    if (sha256(Buffer.from(approver.publicKey, "base64")) !== approver.keyId)
      throw unreadable(`the key of \`${approver.principal}\` has not the id that it is given`);
    if (approvers.has(approver.keyId)) throw unreadable(`key \`${approver.keyId}\` stands in it twice`);
    approvers.set(approver.keyId, approver);
  }
  const witnesses = (trust.witnesses?.keys ?? []).map((key) =>
    readable(() => parseCosignerKey(key), "a witness's key"),
  );
  const quorum = trust.witnesses?.quorum ?? 0;
  if (new Set(witnesses.map(({ name }) => name)).size !== witnesses.length)
    throw unreadable("two witnesses have one name");
  if (quorum > witnesses.length)
    throw unreadable(`${quorum} witnesses are asked for, and ${witnesses.length} are trusted`);
  return {
    keysOf: (log) => keysAt(log, 0),
    currentKeysOf: (log) => logs.get(log)?.current ?? [],
    keysAt,
    origins: new Set([...logs.keys()].flatMap((log) => keysAt(log, 0).map(({ name }) => name))),
    approver: (keyId) => approvers.get(keyId),
    hasApprovers: approvers.size > 0,
    rpIds: trust.rpIds === undefined ? undefined : new Set(trust.rpIds),
    witnesses,
    quorum,
    maxAgeHours: trust.maxAgeHours,
    runs: trust.runs ?? [],
    required: new Set(trust.require ?? []),
  };
}

/** The text of a trust file: indented, for a person to read and compare. */
export function trustText(trust: Trust): string {
  return `${JSON.stringify(JSON.parse(canonicalText(trust as never)), undefined, 2)}\n`;
}

function readable<Key>(read: () => Key, what: string): Key {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof ProofError) throw unreadable(`${what}: ${cause.message}`, cause);
    throw cause;
  }
}

function unreadable(what: string, cause?: unknown): EvidenceError {
  return new EvidenceError("trust_unreadable", `the trust file cannot be used: ${what}`, {
    cause,
    hint: "docs/evidence-format.md has its format; `countersign audit trust init` makes a first one",
  });
}

/** JSON text without the white space between its tokens. */
function withoutSpace(text: string): string {
  return text.replaceAll(/("(?:[^"\\]|\\.)*")|\s+/g, (_, literal: string | undefined) => literal ?? "");
}
