import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  createSigner,
  formatCheckpoint,
  openCheckpoint,
  parseCheckpoint,
  parseNote,
  parseVerifierKey,
  ProofError,
  signNote,
  verifyNote,
} from "../../src/ledger/proof/index.ts";

// The example key and note of the documentation of Go's golang.org/x/mod/sumdb/note.
const peter = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const peterSeed = Buffer.from("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz", "base64").subarray(1);
const text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const line =
  "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    if (error instanceof ProofError) return error.code;
    throw error;
  }
  return "accepted";
};

describe("verifier keys", () => {
  test("the example key is read, and a mangled one never is", () => {
    expect(parseVerifierKey(peter).name).toBe("PeterNeumann");
    for (let start = 0; start <= peter.length; start += 1) {
      for (let end = start + 1; end <= peter.length; end += 1) {
        if (start === 0 && end === peter.length) continue;
        expect(codeOf(() => parseVerifierKey(peter.slice(start, end)))).toBe("key_malformed");
      }
    }
    for (let place = 0; place < peter.length; place += 1) {
      const next = String.fromCharCode(peter.charCodeAt(place) + 1);
      expect(codeOf(() => parseVerifierKey(peter.slice(0, place) + next + peter.slice(place + 1)))).toBe(
        "key_malformed",
      );
    }
  });
});

describe("notes", () => {
  const signer = createSigner("PeterNeumann", peterSeed);

  test("the example is signed and verified to the byte", () => {
    expect(signer.verifierKey).toBe(peter);
    expect(signNote(text, [signer])).toBe(`${text}\n${line}`);
    expect(verifyNote(`${text}\n${line}`, [parseVerifierKey(peter)])).toEqual({ text, signedBy: ["PeterNeumann"] });
  });

  test("unknown keys are ignored, and a known key that does not fit refutes the note", () => {
    const other = createSigner("EnochRoot", Buffer.alloc(32, 1));
    const note = signNote(text, [other, signer]);
    expect(verifyNote(note, [parseVerifierKey(peter)]).signedBy).toEqual(["PeterNeumann"]);
    expect(codeOf(() => verifyNote(signNote(text, [other]), [parseVerifierKey(peter)]))).toBe("signature_missing");
    const forged = note.replace("answer", "Answer");
    expect(codeOf(() => verifyNote(forged, [parseVerifierKey(peter)]))).toBe("signature_invalid");
    // The same key under another name is another key.
    const renamed = createSigner("Other", peterSeed);
    expect(codeOf(() => verifyNote(signNote(text, [renamed]), [parseVerifierKey(peter)]))).toBe("signature_missing");
  });

  test.each([
    ["no signature", text],
    ["an empty signature part", `${text}\n`],
    ["no newline at the end", `${text}\n${line.slice(0, -1)}`],
    ["a control character", `\u0001${text}\n${line}`],
    ["a lone surrogate", `\ud800${text}\n${line}`],
    ["a space in a key's name", `${text}\n${line.replace("Peter", "Peter ")}`],
    ["a plus in a key's name", `${text}\n${line.replace("Peter", "Peter+")}`],
    ["a stray line", `${text}\n${line}Unexpected line.\n`],
    ["base64 in another spelling", `${text}\n${line.replace("nAM=", "nAN=")}`],
    ["too many signatures", `${text}\n${line.repeat(101)}`],
  ])("refuses %s", (_what, note) => {
    expect(codeOf(() => verifyNote(note, [parseVerifierKey(peter)]))).toBe("note_malformed");
  });

  test("no single changed character passes", () => {
    const note = `${text}\n${line}`;
    fc.assert(
      fc.property(fc.nat(note.length - 1), fc.constantFrom("A", "b", "7", "\n", " ", "é"), (place, character) => {
        fc.pre(note[place] !== character);
        const forged = note.slice(0, place) + character + note.slice(place + 1);
        expect(codeOf(() => verifyNote(forged, [parseVerifierKey(peter)]))).not.toBe("accepted");
      }),
    );
  });

  test("text may have empty lines of its own", () => {
    const note = signNote("a\n\nb\n", [signer]);
    expect(parseNote(note).text).toBe("a\n\nb\n");
    expect(codeOf(() => signNote("no newline", [signer]))).toBe("note_malformed");
  });
});

describe("checkpoints", () => {
  // The example of C2SP tlog-checkpoint.
  const example = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

  test("the example is read and written", () => {
    const checkpoint = parseCheckpoint(example);
    expect(checkpoint).toMatchObject({ origin: "example.com/behind-the-sofa", size: 20852163 });
    expect(formatCheckpoint(checkpoint)).toBe(example);
    expect(parseCheckpoint(`${example}an extension\n`)).toEqual(checkpoint);
  });

  test.each([
    ["a leading zero", example.replace("2085", "02085")],
    ["a sign", example.replace("2085", "+2085")],
    ["a size past 2^53", example.replace("20852163", "9007199254740993")],
    ["a short root", example.replace("CsUY", "")],
    ["an empty origin", example.replace("example.com/behind-the-sofa", "")],
    ["an empty line", `${example}\n`],
    ["no last newline", example.slice(0, -1)],
  ])("refuses %s", (_what, malformed) => {
    expect(codeOf(() => parseCheckpoint(malformed))).toBe("checkpoint_malformed");
  });

  test("a checkpoint opens only for the log that the key is named after", () => {
    const signer = createSigner("example.com/behind-the-sofa", Buffer.alloc(32, 7));
    const key = parseVerifierKey(signer.verifierKey);
    expect(openCheckpoint(signNote(example, [signer]), key).size).toBe(20852163);
    const elsewhere = signNote(example.replace("behind", "before"), [signer]);
    expect(codeOf(() => openCheckpoint(elsewhere, key))).toBe("checkpoint_malformed");
  });
});
