import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

import { faultPoint } from "../faults/index.ts";
import { makeFolder } from "../store/make-folder.ts";
import { LedgerError } from "./errors.ts";
import { parseCheckpoint, parseNote } from "./proof/index.ts";
import type { Checkpoint } from "./proof/index.ts";
import { writeDurably } from "./write-durably.ts";

/**
 * The last signed note of each log, kept where the database's backup does not reach: a database that was restored from an older state
 * does not know any more what was signed, and would have another tree signed at a size that was signed already.
 */
export type SignedNotes = {
  /** The logs that something is kept of. */
  logs(): Promise<readonly string[]>;
  /** Undefined where nothing is kept. Throws `signed_notes_unusable`. */
  last(log: string): Promise<Checkpoint | undefined>;
  /** On disk when it returns. Only for who holds the log's lock. Throws `signed_notes_unusable`. */
  keep(log: string, note: string): Promise<void>;
};

const suffix = ".checkpoint";

/** Notes in a folder, a file each, which is made when the first one is kept. */
export function signedNotesIn(folder: string): SignedNotes {
  // A log's name is a team's, but that is for others to hold.
  const pathOf = (log: string): string => join(folder, `${encodeURIComponent(log)}${suffix}`);
  const unusable = (what: string, cause: unknown): LedgerError =>
    new LedgerError("signed_notes_unusable", what, {
      cause,
      hint: 'nothing is signed without it: give the file back, or see docs/ledger.md, "A restored database"',
    });
  return {
    async logs() {
      const names = await readdir(folder).catch((error: unknown) => {
        if (isMissing(error)) return [];
        throw unusable(`what was signed cannot be read from \`${folder}\``, error);
      });
      return names
        .filter((name) => name.endsWith(suffix))
        .map((name) => decodeURIComponent(name.slice(0, -suffix.length)))
        .toSorted();
    },
    async last(log) {
      try {
        return parseCheckpoint(parseNote(await readFile(pathOf(log), "utf8")).text);
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw unusable(`\`${pathOf(log)}\`, the last signed checkpoint of log \`${log}\`, cannot be read`, error);
      }
    },
    async keep(log, note) {
      try {
        makeFolder(folder, 0o700);
        await faultPoint("ledger.remember", () => writeDurably(pathOf(log), note));
      } catch (error) {
        throw unusable(`\`${pathOf(log)}\` cannot be written`, error);
      }
    },
  };
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}
