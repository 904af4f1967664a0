import type { Client } from "@temporalio/client";
import type { Logger } from "pino";

import type { Signer } from "../ledger/index.ts";
import type { NotifyOptions } from "../notify/index.ts";
import type { PayloadKeys, Pool } from "../store/index.ts";
import type { DeltaHub } from "./delta-hub.ts";
import type { Site } from "./site.ts";
import type { RunEngine } from "./run-engine.ts";

export type LedgerAccess = {
  /** The log's name to the world, which its checkpoints begin with. */
  originOf(log: string): string;
  /** The signer of a team's log: its verifier key is what the server hands out. */
  signerOf(log: string): Pick<Signer, "verifierKey" | "sign">;
  /** All of them, while an older key still signs too; absent: the one. */
  signersOf?(log: string): readonly Pick<Signer, "verifierKey" | "sign">[];
  /** Where a sequencer runs in this process: brings all that is committed into the log, and signs. */
  flush?(log: string): Promise<void>;
  /** The logs that are signed no more, and why. */
  stopped?(): readonly { readonly log: string; readonly why: string }[];
  /** Verifier keys of the witnesses that cosign checkpoints, and how many have to before one is published. */
  readonly witnesses?: readonly string[];
  readonly quorum?: number;
  /** Checkpoints, tiles and entries are for everybody, not for auditors alone. */
  readonly open?: boolean;
};

/** All that the server works with. Nothing is read from the environment. */
export type ServerOptions = {
  readonly pool: Pool;
  /** For the connection that listens to tokens: a pool cannot. */
  readonly databaseUrl: string;
  readonly keys: PayloadKeys;
  readonly temporal: Client;
  /** The queue that the workers listen to. */
  readonly taskQueue: string;
  readonly ledger: LedgerAccess;
  readonly logger: Logger;
  /** Names that requests may address the server by, beside the loopback ones. Without port. */
  readonly allowedHosts?: readonly string[];
  /** How notices are sent; absent: to public addresses, and no mail. */
  readonly notify?: NotifyOptions;
  /** Where people open this server in a browser; default: `http://localhost` and the port. Passkeys are bound to it. */
  readonly origin?: string | undefined;
  /** Takes passkeys whose keys can be copied: for tests. */
  readonly virtualAuthenticators?: boolean | undefined;
  /** The origin of Temporal's UI, whose pages may ask the codec endpoint; default: no page may. */
  readonly temporalUi?: string | undefined;
  readonly now?: () => Date;
};

/** What handlers work with. */
export type Services = Pick<ServerOptions, "pool" | "keys" | "ledger"> & {
  readonly logger: Pick<Logger, "debug" | "info" | "warn" | "error">;
  readonly runs: RunEngine;
  readonly notify: NotifyOptions;
  readonly now: () => Date;
  readonly site: () => Site;
  readonly deltas: DeltaHub;
  /** Aborted when the server stops. */
  readonly stopping: AbortSignal;
  /** Streams under way: each settles when its last byte is out. */
  readonly streams: Set<Promise<void>>;
};
