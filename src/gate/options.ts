import type { RunFacts } from "../core/decision.ts";
import type { TokenPrice } from "../core/money.ts";
import type { Cosigners } from "../ledger/index.ts";
import type { DetectorOptions, RemoteOptions } from "../policy/index.ts";
import type { PayloadKeys, Pool } from "../store/index.ts";
import type { RunCache } from "./run/cache.ts";

/** What a gate is made with. */
export type GateOptions = {
  readonly pool: Pool;
  readonly keys: PayloadKeys;
  readonly cache: RunCache;
  readonly priceOf: (model: string) => TokenPrice | undefined;
  readonly environment: RunFacts["environment"];
  /** A decision point that is asked too (OpenID AuthZEN), and can only deny more; absent: none. */
  readonly remote?: RemoteOptions | undefined;
  /** Another detector of personal data in contents (a Presidio analyzer); absent: none. What it does not answer is denied. */
  readonly detector?: DetectorOptions | undefined;
  /** Whose cosignatures count for calls that wait for witnesses; absent: nobody's, and such calls are not made. */
  readonly cosigners?: Cosigners | undefined;
  /** Short, repeatable tools go through local activities. */
  readonly fastLane: boolean;
  /** What runs that are not in the database add to history facts, by name: for a fork. Absent: all runs are in it. */
  readonly historyBeyond?: Readonly<Record<string, number>> | undefined;
  /** The worker's clock: when what it did ended. */
  readonly now: () => Date;
  /** In the place of Postgres' clock, by which decisions, windows and months go: a test's, a fork's. */
  readonly clock?: (() => Date) | undefined;
};
