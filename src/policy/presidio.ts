import type { DetectedPlace } from "../core/decision.ts";
import { CodedError } from "../core/errors.ts";
import { dataClasses } from "../core/labels.ts";
import type { DataClass } from "../core/labels.ts";
import { endpointBelow } from "./endpoint.ts";
import { postJson } from "./post-json.ts";

/** A detector that cannot be asked as it is configured. */
export class DetectorError extends CodedError<"detector_misconfigured"> {}

/** A Presidio analyzer: microsoft.github.io/presidio/api-docs/api-docs.html (`POST /analyze`). */
export type DetectorOptions = {
  readonly endpoint: URL;
  readonly timeoutMs: number;
  /** ISO 639-1, as the analyzer has models for. */
  readonly language: string;
  /** Findings below it are none, from 0 to 1. */
  readonly minScore: number;
};

export type Detected =
  /** `places`: absent where it does not say where. */
  | {
      readonly status: "found";
      readonly classes: readonly DataClass[];
      readonly places?: readonly DetectedPlace[] | undefined;
    }
  /** It gave no answer that counts as one. `reason` is one line, and holds nothing of the text. */
  | { readonly status: "failed"; readonly reason: string };

/** The id under which a denial for want of its answer is recorded: as the gate's own, since no policy of ours determined it. */
export const detectorPolicy = "gate:detector";

const defaultTimeoutMs = 1_000;
const maxTimeoutMs = 30_000;
const defaultMinScore = 0.5;
/** Longer texts are not sent: an analyzer takes seconds for them, and would time out in any case. */
export const longestDetected = 200_000;
const maxAnswerBytes = 4 * 1024 * 1024;

/**
 * The analyzer of the environment, or undefined where none is configured: `COUNTERSIGN_PRESIDIO_URL` is its base (https, except on
 * loopback), `COUNTERSIGN_PRESIDIO_TIMEOUT_MS` how long it may take (1000), `COUNTERSIGN_PRESIDIO_LANGUAGE` (en),
 * `COUNTERSIGN_PRESIDIO_MIN_SCORE` (0.5). Throws `detector_misconfigured`: a worker that was told to ask must not start without.
 */
export function detectorOptionsOf(env: Readonly<Record<string, string | undefined>>): DetectorOptions | undefined {
  const base = env["COUNTERSIGN_PRESIDIO_URL"];
  if (base === undefined || base === "") return undefined;
  const timeoutMs = Number(env["COUNTERSIGN_PRESIDIO_TIMEOUT_MS"] ?? defaultTimeoutMs);
  if (!Number.isInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > maxTimeoutMs)
    throw misconfigured(`COUNTERSIGN_PRESIDIO_TIMEOUT_MS: expected milliseconds from 1 to ${maxTimeoutMs}`);
  const language = env["COUNTERSIGN_PRESIDIO_LANGUAGE"] ?? "en";
  if (!/^[a-z]{2,3}$/.test(language))
    throw misconfigured('COUNTERSIGN_PRESIDIO_LANGUAGE: expected a language\'s code, such as "en"');
  const minScore = Number(env["COUNTERSIGN_PRESIDIO_MIN_SCORE"] ?? defaultMinScore);
  if (!(minScore >= 0 && minScore <= 1))
    throw misconfigured("COUNTERSIGN_PRESIDIO_MIN_SCORE: expected a number from 0 to 1");
  return { endpoint: endpointBelow(base, "/analyze", refused), timeoutMs, language, minScore };
}

function refused(expected: string): DetectorError {
  return misconfigured(`COUNTERSIGN_PRESIDIO_URL: expected ${expected}`, "give one like http://127.0.0.1:5002");
}

function misconfigured(message: string, hint?: string): DetectorError {
  return new DetectorError("detector_misconfigured", message, hint === undefined ? {} : { hint });
}

/**
 * Asks the analyzer what personal data a text holds. Never throws: a text that is too long, whatever {@link postJson} takes for a failure, and an
 * answer that is no list of findings, are all failures.
 */
export async function detect(options: DetectorOptions, text: string): Promise<Detected> {
  const { endpoint, timeoutMs, language, minScore } = options;
  if (text.trim() === "") return { status: "found", classes: [] };
  if (text.length > longestDetected)
    return failed(`a text of ${text.length} characters is too long for the detector of personal data`);
  const answer = await postJson({
    endpoint,
    body: JSON.stringify({ text: text.toWellFormed(), language, score_threshold: minScore }),
    timeoutMs,
    maxAnswerBytes,
  });
  return answer.status === "failed"
    ? failed(`the detector of personal data ${answer.reason}`)
    : findingsIn(answer.value, minScore, text);
}

function failed(reason: string): Detected {
  return { status: "failed", reason };
}

function findingsIn(value: unknown, minScore: number, text: string): Detected {
  const malformed = failed("the detector of personal data gave an answer that is no list of findings");
  if (!Array.isArray(value)) return malformed;
  const found = new Set<DataClass>();
  const places: (DetectedPlace | undefined)[] = [];
  const unitAt = unitsOf(text);
  for (const finding of value as readonly unknown[]) {
    if (typeof finding !== "object" || finding === null) return malformed;
    const { entity_type: entity, score } = finding as { readonly entity_type?: unknown; readonly score?: unknown };
    if (typeof entity !== "string" || typeof score !== "number") return malformed;
    const known = score < minScore ? undefined : classOf(entity);
    if (known === undefined) continue;
    found.add(known);
    places.push(placeOf(known, finding, unitAt));
  }
  const classes = dataClasses.filter((name) => found.has(name)).toSorted();
  const known = places.filter((place) => place !== undefined);
  return { status: "found", classes, places: known.length === places.length ? known : undefined };
}

function placeOf(name: DataClass, finding: object, unitAt: (codePoint: number) => number): DetectedPlace | undefined {
  const { start, end } = finding as { readonly start?: unknown; readonly end?: unknown };
  if (typeof start !== "number" || typeof end !== "number") return undefined;
  const place = { name, start: unitAt(start), end: unitAt(end) };
  return Number.isInteger(place.start) && Number.isInteger(place.end) && place.start >= 0 && place.start < place.end
    ? place
    : undefined;
}

/** An analyzer counts code points, as Python does; not a number where there is no such place. */
function unitsOf(text: string): (codePoint: number) => number {
  if (!/[\uD800-\uDBFF]/.test(text)) return (codePoint) => (codePoint <= text.length ? codePoint : Number.NaN);
  const units: number[] = [];
  let at = 0;
  for (const character of text) {
    units.push(at);
    at += character.length;
  }
  units.push(at);
  return (codePoint) => units[codePoint] ?? Number.NaN;
}

const byEntity: Readonly<Record<string, DataClass>> = {
  PERSON: "person",
  EMAIL_ADDRESS: "email",
  PHONE_NUMBER: "phone",
  IBAN_CODE: "iban",
  // An account, though its number has another form.
  US_BANK_NUMBER: "iban",
  CREDIT_CARD: "card",
  MEDICAL_LICENSE: "national_id",
};

/** Named like what a country gives, and of a machine. */
const ofMachines: ReadonlySet<string> = new Set(["IP_ADDRESS"]);

/**
 * The class of an entity of Presidio's (microsoft.github.io/presidio/supported_entities); what a country gives its people (`US_SSN`,
 * `UK_NHS`, `IT_PASSPORT`) is a national id. What says too little by itself (dates, places, URLs, addresses of machines) is of none.
 */
function classOf(entity: string): DataClass | undefined {
  if (Object.hasOwn(byEntity, entity)) return byEntity[entity];
  return /^[A-Z]{2}_[A-Z_]+$/.test(entity) && !ofMachines.has(entity) ? "national_id" : undefined;
}
