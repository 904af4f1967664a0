export { LedgerError } from "./errors.ts";
export { coveringCheckpoint } from "./covered.ts";
export type { Cosigners } from "./covered.ts";
export { appendToOutbox, outboxRows, outboxSql } from "./outbox.ts";
export type { OutboxRow } from "./outbox.ts";
export { proveConsistency, proveInclusion, proveInclusions } from "./prove.ts";
export {
  checkpointOfSize,
  entryBodies,
  latestCheckpoint,
  logHeads,
  logSize,
  readContextEntries,
  readEntries,
  readKeyedEntries,
  readRunEntries,
  unsequenced,
  unsequencedKeyed,
} from "./reads.ts";
export type { SequencedEntry, SignedCheckpoint } from "./reads.ts";
export { createSequencer } from "./sequencer.ts";
export { signedNotesIn } from "./signed-notes.ts";
export type { SignedNotes } from "./signed-notes.ts";
export { StoppedLogs } from "./stopped.ts";
export type { Sequencer, SequencerOptions } from "./sequencer.ts";
export { cosignedCheckpoint, cosignedLatest, publishedCheckpoint } from "./cosignatures.ts";
export { publishedTile } from "./publish.ts";
export { loadOrCreateSeed, loadOrCreateSigners, loadSigners, retireKeys, rotateKey } from "./signer-file.ts";
export type { SignersOf } from "./signer-file.ts";
export { parseTilePath, tilePath } from "./tile-path.ts";
export type { TileResource } from "./tile-path.ts";
export { createWitnessing } from "./witnesses.ts";
export type { Witness } from "./witnesses.ts";
export { loadWitnesses } from "./witness-file.ts";
export type { Witnesses } from "./witness-file.ts";
export { openWitnessState } from "./witness/state.ts";
export { startWitness } from "./witness/server.ts";
export {
  createCosigner,
  createSigner,
  historyRoot,
  parseCosignerKey,
  parseVerifierKey,
  verifyLog,
} from "./proof/index.ts";
export type { Checkpoint, Hash, LogReport, Signer } from "./proof/index.ts";
