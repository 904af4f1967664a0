export { replayRun, verifyRun } from "./audit.ts";
export { hasEnded } from "./history-events.ts";
export type { AuditCheck, AuditReport } from "./report.ts";
export { timelineOf } from "./timeline.ts";
export type { TimelineEntry } from "./timeline.ts";
