import type { Digest, RunId } from "../../core/ids.ts";
import type { RunEvidence, RunRecord } from "../../core/run-record.ts";
import type { Manifest } from "../offline/index.ts";

/** Where a bundle's parts come from: a server's API, or a test's own. */
export type BundleSource = {
  /** Proofs lead to the checkpoint of `size`. */
  evidence(run: RunId, size?: number): Promise<RunEvidence>;
  /** Each call is recorded as a read of contents. */
  contents(run: RunId): Promise<Contents>;
  /** The latest signed note, or undefined where nothing was signed. */
  checkpoint(log: string): Promise<string | undefined>;
  /** The newest note that a quorum of the log's witnesses cosigned; where there is none, the latest. */
  cosigned(log: string): Promise<string | undefined>;
  /** The leaves of the log's first `size` entries. */
  entries(log: string, size: number): AsyncIterable<string>;
  consistency(log: string, from: number, to: number): Promise<readonly string[]>;
  code(digest: Digest): Promise<string>;
};

export type ExportOptions = {
  /** Closed runs, each once. */
  readonly runs: readonly RunId[];
  readonly directory: string;
  readonly force: boolean;
  readonly contents: boolean;
  /** Every leaf of each run's log, instead of the runs' own with their proofs. */
  readonly wholeLogs: boolean;
  /** Also the workflow code that the runs ran. */
  readonly code: boolean;
  readonly about: Manifest["case"];
  /** Signed notes that the auditor kept: the bundle will show that the logs grew out of them. */
  readonly pinned: readonly string[];
  readonly generator: Manifest["generator"];
  readonly now: Date;
  /** Of runs that were selected, and not named one by one: whether this one, which could not be read, is left out. Else the export fails. */
  readonly leaveOut?: (run: RunId, error: unknown) => boolean;
  readonly onProgress: (line: string) => void;
};

/** A run as it is exported. */
export type Fetched = RunEvidence & { readonly contents: Contents | undefined };

type Contents = Pick<RunRecord, "input" | "payloads" | "salt">;
