export { armFaults, faultMark, faultMarkText } from "./arm.ts";
export { arm, disarm, FaultError, faultPoint } from "./fault-point.ts";
export { faultKinds, faultPoints, faultText, parseFaults } from "./points.ts";
export type { Fault, FaultKind, FaultPoint } from "./points.ts";
