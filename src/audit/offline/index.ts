/** Offline verification: reaches neither Postgres nor Temporal, nor any server. Also the package's `countersign/verify`. */
export { EvidenceError } from "./errors.ts";
export { BundleFiles, unfinishedPattern } from "./files.ts";
export { checkNames, findingCodes, Findings } from "./findings.ts";
export type { CheckName, Finding, FindingCode, OfflineCheck } from "./findings.ts";
export { predicateType, runStatement, signRunStatement, statementType } from "./in-toto.ts";
export type { Leaf } from "./in-toto.ts";
export { caseSection, evidenceFormat, saltedContents, trustFormat } from "./manifest.schema.ts";
export type { Approver, LogSection, Manifest, RunSection, Trust } from "./manifest.schema.ts";
export { parsePin } from "./pin.ts";
export { exitCodeOf, reportLines } from "./print.ts";
export { parseTrust, trustText } from "./trust.ts";
export type { TrustRoots } from "./trust.ts";
export { enrolmentLog } from "./enrolments.ts";
export type { OfflineReport } from "./conclude.ts";
export { readBundle, verifyEvidence } from "./verify.ts";
export type { VerifyOptions } from "./verify.ts";
