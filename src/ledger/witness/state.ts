import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

import { sha256 } from "../../store/canonical.ts";
import { makeFolder } from "../../store/make-folder.ts";
import { LedgerError } from "../errors.ts";
import { writeDurably } from "../write-durably.ts";
import { parseCheckpoint } from "../proof/index.ts";
import type { Checkpoint } from "../proof/index.ts";

/**
 * What a witness remembers: the last checkpoint of each log that it cosigned, a file each. It is all that a rollback of the log would
 * have to get past, so it is on disk, whole, before a cosignature goes out.
 */
export type WitnessState = {
  latest(origin: string): Promise<Checkpoint | undefined>;
  /** `text` is the checkpoint's text. */
  remember(origin: string, text: string): Promise<void>;
  /** Keeps a note that may contradict what was cosigned, with the log's own signatures alone, once. Returns where. */
  keepContradiction(note: string): Promise<string>;
  /** Lets another process have the folder. */
  close(): void;
};

/** For this process alone until it is closed or ends. Throws `witness_state_unusable` where another one has it. */
export async function openWitnessState(directory: string): Promise<WitnessState> {
  makeFolder(join(directory, "contradictions"), 0o700);
  const lock = lockOf(directory);
  const fileOf = (origin: string) => join(directory, `${sha256(origin).slice(0, 32)}.checkpoint`);
  return {
    async latest(origin) {
      const path = fileOf(origin);
      const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return undefined;
        throw error;
      });
      return text === undefined ? undefined : checkpointIn(text, origin, path);
    },
    remember: (origin, text) => writeDurably(fileOf(origin), text),
    async keepContradiction(note) {
      const path = join(directory, "contradictions", `${sha256(note).slice(0, 32)}.note`);
      await writeFile(path, note, { flag: "wx" }).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "EEXIST") throw error;
      });
      return path;
    },
    close: () => lock.close(),
  };
}

/**
 * Two witnesses on one folder could each cosign another tree of one size. Node has no file locks; SQLite's are the system's own, so that they
 * end with their process, however it ends.
 */
function lockOf(directory: string): DatabaseSync {
  const lock = new DatabaseSync(join(directory, "lock"), { timeout: 0 });
  try {
    lock.exec("pragma journal_mode = off; begin exclusive");
    return lock;
  } catch (cause) {
    lock.close();
    throw new LedgerError(
      "witness_state_unusable",
      `another witness works on \`${directory}\`, or it cannot be locked`,
      {
        cause,
        hint: "one witness to a folder: give this one a --state of its own, or end the other",
      },
    );
  }
}

function checkpointIn(text: string, origin: string, path: string): Checkpoint {
  try {
    const checkpoint = parseCheckpoint(text);
    if (checkpoint.origin === origin) return checkpoint;
  } catch {
    // Told below: a witness that forgot must not sign as one that never knew.
  }
  throw new LedgerError("witness_state_unusable", `\`${path}\` is not the last checkpoint of log \`${origin}\``, {
    hint: "restore the witness's directory; without it, it cannot tell a rollback",
  });
}
