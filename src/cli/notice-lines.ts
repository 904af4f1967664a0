import type { ApprovalDetail } from "../api/index.ts";
import { brief, localTime } from "./terminal.ts";

/** Who was told of a request, one line for each event and receiver. */
export function noticeLines(notices: ApprovalDetail["notices"]): readonly string[] {
  return notices.map(({ event, kind, shown, state, attempts, reason, due }) => {
    const whom = `${kind} ${brief(shown, 60)}`;
    const why = reason === null ? "" : `: ${brief(reason, 120)}`;
    switch (state) {
      case "delivered":
        return `told ${whom} (${event})`;
      case "withdrawn":
        return `did not tell ${whom} (${event})${why}`;
      case "failed":
        return `could not tell ${whom} (${event}), given up after ${attempts} attempts${why}`;
      case "queued":
        return attempts === 0
          ? `is about to tell ${whom} (${event})`
          : `has not told ${whom} (${event}) in ${attempts} attempts, tries again at ${localTime(due)}${why}`;
    }
  });
}
