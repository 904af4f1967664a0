export { formatCheckpoint, openCheckpoint, parseCheckpoint } from "./checkpoint.ts";
export type { Checkpoint } from "./checkpoint.ts";
export { consistencyProof, verifyConsistency } from "./consistency.ts";
export type { ConsistencyClaim } from "./consistency.ts";
export { cosignedBy } from "./cosigned-by.ts";
export { noPrevious, parseEntry } from "./entry.ts";
export { maxEntryBytes } from "./entry.schema.ts";
export { ProofError } from "./errors.ts";
export { emptyRoot, equalHashes, hexOf, leafHash, nodeHash } from "./hash.ts";
export type { Hash } from "./hash.ts";
export { historyRoot } from "./history-root.ts";
export { inclusionProof, verifyInclusion } from "./inclusion.ts";
export type { InclusionClaim } from "./inclusion.ts";
export { createCosigner, createSigner, parseNote, signatureLine, signNote, verifyNote } from "./note.ts";
export type { Note, NoteSignature, Signer } from "./note.ts";
export { completeNodes, consistencyRanges, inclusionRanges } from "./ranges.ts";
export type { LeafRange, NodeId } from "./ranges.ts";
export { scanEntry } from "./scan-entry.ts";
export { CompactRange, rootOf, rootOfSubtrees } from "./tree.ts";
export type { NodeVisitor } from "./tree.ts";
export {
  cosignatureTime,
  formatVerifierKey,
  parseCosignerKey,
  parseVerifierKey,
  verifierKeyOf,
} from "./verifier-key.ts";
export type { VerifierKey } from "./verifier-key.ts";
export { verifyLog } from "./verify-log.ts";
export type { LogCheck, LogCheckName, LogEvidence, LogReport } from "./verify-log.ts";
