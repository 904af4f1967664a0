/** The wire format of C2SP tlog-witness `add-checkpoint`, and what a witness has to say to a request. Pure. */
import { decodeBase64 } from "../proof/verifier-key.ts";
import { equalHashes, parseCheckpoint, parseNote, ProofError, verifyConsistency, verifyNote } from "../proof/index.ts";
import type { Checkpoint, Hash, VerifierKey } from "../proof/index.ts";

/** The specification's bound. */
const maxProofLines = 63;

export type CheckpointRequest = {
  /** The size of the tree that the proof begins at. */
  readonly oldSize: number;
  readonly proof: readonly Hash[];
  /** The signed note. */
  readonly note: string;
};

/** What a witness knows of a log. `latest`: the last checkpoint that it cosigned. */
export type KnownLog = { readonly keys: readonly VerifierKey[]; readonly latest: Checkpoint | undefined };

export type Judgement =
  | { readonly status: 200; readonly checkpoint: Checkpoint; readonly text: string }
  /** The log is at `size` here: the request has to begin there. */
  | { readonly status: 409; readonly size: number; readonly why: string; readonly signed: boolean }
  /** `signed`: by the log's own key, so that the note is evidence of what the log says. */
  | { readonly status: 400 | 403 | 404 | 422; readonly why: string; readonly signed: boolean };

export function formatRequest({ oldSize, proof, note }: CheckpointRequest): string {
  return `old ${oldSize}\n${proof.map((hash) => `${Buffer.from(hash).toString("base64")}\n`).join("")}\n${note}`;
}

/** Undefined for what is no request. */
export function parseRequest(body: string): CheckpointRequest | undefined {
  const end = body.indexOf("\n\n");
  if (end < 0) return undefined;
  const [first = "", ...lines] = body.slice(0, end).split("\n");
  const old = /^old (0|[1-9][0-9]{0,15})$/.exec(first)?.[1];
  const proof = lines.map(decodeBase64);
  if (old === undefined || !Number.isSafeInteger(Number(old)) || proof.length > maxProofLines) return undefined;
  if (!proof.every((hash) => hash?.length === 32)) return undefined;
  return { oldSize: Number(old), proof: proof as Hash[], note: body.slice(end + 2) };
}

/** In the order that the specification gives its refusals. */
export function judgeRequest(body: string, logOf: (origin: string) => KnownLog | undefined): Judgement {
  const request = parseRequest(body);
  const checkpoint = request === undefined ? undefined : attempt(() => parseCheckpoint(parseNote(request.note).text));
  if (request === undefined || checkpoint === undefined) {
    return { status: 400, why: "not an add-checkpoint request (c2sp.org/tlog-witness)", signed: false };
  }
  const log = logOf(checkpoint.origin);
  if (log === undefined) return { status: 404, why: "this witness does not know the log", signed: false };
  const verified = attempt(() => verifyNote(request.note, log.keys));
  if (verified === undefined) return { status: 403, why: "no signature of a key of the log holds", signed: false };
  const { oldSize, proof } = request;
  if (oldSize > checkpoint.size) return { status: 400, why: "the old size is past the checkpoint's", signed: true };
  const known = log.latest?.size ?? 0;
  if (oldSize !== known) return { status: 409, size: known, why: `the log is at size ${known} here`, signed: true };
  if (log.latest !== undefined && checkpoint.size === known && !equalHashes(checkpoint.root, log.latest.root)) {
    return { status: 409, size: known, why: `another root of size ${known} was cosigned`, signed: true };
  }
  if (!grew(log.latest, checkpoint, proof)) {
    return { status: 422, why: `the tree did not grow out of the one of size ${known}`, signed: true };
  }
  return { status: 200, checkpoint, text: verified.text };
}

function grew(latest: Checkpoint | undefined, checkpoint: Checkpoint, proof: readonly Hash[]): boolean {
  if (latest === undefined || latest.size === 0 || latest.size === checkpoint.size) return proof.length === 0;
  const claim = { from: latest.size, to: checkpoint.size, fromRoot: latest.root, toRoot: checkpoint.root, proof };
  return attempt(() => (verifyConsistency(claim), true)) === true;
}

function attempt<Result>(work: () => Result): Result | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof ProofError) return undefined;
    throw error;
  }
}
