/** A run as an in-toto statement (v1), in a DSSE envelope. It follows from the run's ledger entries alone, so that a verifier makes it again. */
import type { Json, JsonObject } from "../../core/json.ts";
import type { LedgerEntry, LedgerFacts } from "../../core/ledger-event.ts";
import type { DsseEnvelope } from "../../core/run-record.ts";
import type { VerifierKey } from "../../ledger/proof/index.ts";
import { canonicalText, sha256 } from "../../store/canonical.ts";

export const statementType = "https://in-toto.io/Statement/v1";
export const predicateType = "urn:countersign:evidence:run:v1";
export const payloadType = "application/vnd.in-toto+json";

/** An entry with its place in the log, and its exact bytes as text. */
export type Leaf = { readonly index: number; readonly leaf: string; readonly entry: LedgerEntry };

/** Who signs: a log's signer is one. */
type Signs = { readonly verifierKey: string; sign(message: Uint8Array): Uint8Array };

/**
 * The statement of a run from all of its entries, in their order. Subject: SHA-256 over the leaves, each followed by a line feed.
 * Undefined while the run has not been closed.
 */
export function runStatement(origin: string, leaves: readonly Leaf[]): JsonObject | undefined {
  const [first] = leaves;
  const closed = leaves.find(({ entry }) => entry.kind === "run.closed");
  if (first?.entry.run === undefined || closed === undefined) return undefined;
  const started = leaves.find(({ entry }) => entry.kind === "run.started");
  const { id } = first.entry.run;
  const decided = leaves.filter(({ entry }) => entry.kind === "step.decided").map(({ entry }) => entry.facts);
  const outcomes = (outcome: string): number => decided.filter((facts) => facts["outcome"] === outcome).length;
  return {
    _type: statementType,
    subject: [{ name: id, digest: { sha256: sha256(leaves.map(({ leaf }) => `${leaf}\n`).join("")) } }],
    predicateType,
    predicate: {
      log: origin,
      run: id,
      entries: leaves.map(({ index }) => index),
      ...(started === undefined ? {} : { started: { at: started.entry.at, ...plain(started.entry.facts) } }),
      closed: { at: closed.entry.at, ...plain(closed.entry.facts) },
      decisions: {
        allow: outcomes("allow"),
        deny: outcomes("deny"),
        require_approval: outcomes("require_approval"),
      },
      policySets: [...new Set(decided.map((facts) => String(facts["policySet"])))].toSorted(),
      approvals: leaves
        .filter(({ entry: { kind } }) => kind === "approval.approved" || kind === "approval.denied")
        .map(({ entry: { kind, at, facts } }) => ({ decision: kind.slice("approval.".length), at, ...plain(facts) })),
    },
  };
}

function plain(facts: LedgerFacts): JsonObject {
  return facts;
}

/** The statement in an envelope, signed by the log's own keys, as its checkpoints are: what DSSE signs can be taken for no checkpoint, which has line ends. */
export function signRunStatement(
  origin: string,
  leaves: readonly Leaf[],
  signers: readonly Signs[],
): DsseEnvelope | null {
  const statement = runStatement(origin, leaves);
  if (statement === undefined) return null;
  const payload = canonicalText(statement);
  return {
    payloadType,
    payload: Buffer.from(payload, "utf8").toString("base64"),
    signatures: signers.map((signer) => ({
      keyid: keyIdIn(signer.verifierKey),
      sig: Buffer.from(signer.sign(preAuthentication(payload))).toString("base64"),
    })),
  };
}

export type StatementFault = { readonly code: "statement_unsigned" | "statement_differs"; readonly message: string };

/** Why the envelope is not the run's statement, signed by one of `keys`; undefined if it is. */
export function statementFault(
  envelope: DsseEnvelope,
  origin: string,
  leaves: readonly Leaf[],
  keys: readonly VerifierKey[],
): StatementFault | undefined {
  const payload = Buffer.from(envelope.payload, "base64").toString("utf8");
  const message = preAuthentication(payload);
  const signed = envelope.signatures.some(({ keyid, sig }) =>
    keys.some((key) => keyIdOf(key) === keyid && key.verify(message, Buffer.from(sig, "base64"))),
  );
  if (envelope.payloadType !== payloadType || !signed)
    return { code: "statement_unsigned", message: "the statement is not signed by a trusted key of the log" };
  const expected = runStatement(origin, leaves);
  if (expected === undefined || canonicalText(expected as Json) !== payload)
    return { code: "statement_differs", message: "the statement is not what the run's entries say" };
  return undefined;
}

/** DSSE's PAE: `DSSEv1 SP LEN(type) SP type SP LEN(body) SP body`, lengths in bytes. */
function preAuthentication(payload: string): Uint8Array {
  return Buffer.from(
    `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${Buffer.byteLength(payload)} ${payload}`,
    "utf8",
  );
}

/** `name+hash`, as a verifier key begins. */
function keyIdIn(verifierKey: string): string {
  return verifierKey.split("+").slice(0, 2).join("+");
}

function keyIdOf({ name, keyId }: VerifierKey): string {
  return `${name}+${keyId.toString(16).padStart(8, "0")}`;
}
