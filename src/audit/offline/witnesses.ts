import { cosignedBy, parseNote, ProofError } from "../../ledger/proof/index.ts";
import type { BundleFiles } from "./files.ts";
import type { LogQuestion } from "./log-question.ts";
import type { LogSection } from "./manifest.schema.ts";
import type { TrustRoots } from "./trust.ts";

/** The trusted witnesses that cosigned a log's checkpoint. */
export function countWitnesses({ log }: LogSection, note: string, { trust, findings }: LogQuestion): readonly string[] {
  if (trust.witnesses.length === 0) return [];
  const names = cosignersOf(note, trust);
  const wrong = misfits(note, trust);
  if (wrong.length > 0)
    findings.add(
      "witnesses",
      "signature_invalid",
      log,
      `what stands as the cosignature of ${wrong.join(", ")} is none`,
    );
  if (names.length < trust.quorum)
    findings.add(
      "witnesses",
      "witness_quorum",
      log,
      `${names.length} trusted witnesses signed, ${trust.quorum} are asked for`,
    );
  return names;
}

/** Calls that had to wait for witnesses were made on checkpoints which the bundle brings along: those that `checkOld` looks at. */
export function checkCosigned(
  files: BundleFiles,
  { log, old }: LogSection,
  cosigned: ReadonlyMap<number, number>,
  { findings, trust }: LogQuestion,
): void {
  for (const [size, wanted] of cosigned) {
    const where = `${log} at ${size}`;
    const path = old.find((one) => one.size === size)?.checkpoint;
    const note = path === undefined ? undefined : files.text(path);
    if (note === undefined) {
      findings.add("witnesses", "cosigning_unproven", where, "the checkpoint that a call was made on is not here");
      continue;
    }
    if (trust.witnesses.length < wanted) {
      const few = `${wanted} witnesses had to cosign it, and the trust file names ${trust.witnesses.length}`;
      findings.add("witnesses", "cosigning_unproven", where, few);
      continue;
    }
    const count = cosignersOf(note, trust).length;
    if (count < wanted)
      findings.add("witnesses", "not_cosigned", where, `${count} trusted witnesses cosigned it, ${wanted} had to`);
  }
}

/** Trusted witnesses whose line on the note does not fit it. That one is missing may be; that one is wrong may not. */
function misfits(note: string, { witnesses }: TrustRoots): readonly string[] {
  try {
    const { text, signatures } = parseNote(note);
    return signatures.flatMap(({ name, keyId, signature }) =>
      witnesses
        .filter((one) => one.name === name && one.keyId === keyId && !one.verify(Buffer.from(text), signature))
        .map((one) => one.name),
    );
  } catch (error) {
    if (error instanceof ProofError) return [];
    throw error;
  }
}

function cosignersOf(note: string, { witnesses }: TrustRoots): readonly string[] {
  try {
    return cosignedBy(note, witnesses);
  } catch (error) {
    if (error instanceof ProofError) return [];
    throw error;
  }
}
