import type { ApprovalId } from "../../core/ids.ts";
import type { Detected } from "../../policy/index.ts";
import type { PayloadKeys } from "../../store/index.ts";
import type { RunContext } from "../governed-call.ts";
import type { HistoryCounter } from "../history/history.ts";
import type { ResolvedStep } from "../step/resolve.ts";
import type { Standing } from "../step/standing.ts";
import type { Judged, Question } from "./judge.ts";

export type DecisionRequest = {
  readonly run: RunContext;
  readonly step: ResolvedStep;
  readonly standing: Standing;
  readonly activity: string;
  readonly grant: ApprovalId | undefined;
};

/** A step on its way to a decision: one moment for all that is judged, counted and written of it. */
export type Deciding = DecisionRequest &
  Question & {
    readonly keys: PayloadKeys;
    readonly count: HistoryCounter;
    /** What another detector says of the call as a reviewer changed it. */
    readonly detectedEdited: (step: ResolvedStep) => Detected | undefined;
    /** Lets a candidate decide beside, once this is decided. */
    readonly beside: (judged: Judged) => void;
    /** What time it is by now; all is decided as of `at`. */
    readonly now: () => Date;
  };
