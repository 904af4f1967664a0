import { z } from "zod";

import type { Json } from "../core/json.ts";
import { confidentialities } from "../core/labels.ts";
import type { DataClass, ResultLabels } from "../core/labels.ts";
import { confidentialityOf } from "../core/retrieval.ts";
import type { RetrievalResult, RetrievedDocument, SourceFacts } from "../core/retrieval.ts";
import { clip } from "./clip.ts";
import { ToolResultError } from "./define-tool.ts";

/** More than a source could be asked for: what is over `limit` is dropped, but not looked at without end. */
const maxAnswered = 1_000;

/** Text that can be hashed and kept. */
const text = (most: number) =>
  z
    .string()
    .max(most)
    .refine((value) => value.isWellFormed() && !value.includes("\0"), "must be well-formed text without NUL");

/** A document as a source's code or service gives it; other fields are left out. */
const answered = z.object({
  id: text(500).min(1),
  title: text(500).nullish(),
  text: text(200_000),
  score: z.number().nullish(),
  /** Worse than what the source says of all its documents; better is not believed. */
  origin: z.enum(["trusted", "untrusted"]).nullish(),
  confidentiality: z.enum(confidentialities).nullish(),
});

const answer = z.union([
  z.array(answered).max(maxAnswered),
  z.object({ documents: z.array(answered).max(maxAnswered) }).transform(({ documents }) => documents),
]);

/** A document as a source returns it. */
export type SourceDocument = z.input<typeof answered>;

/**
 * A source's answer as it is recorded and told: the best `limit` documents, each with its labels. A document that is not what the release
 * says of the source (more confidential, or with data of a kind that it must not have) is withheld: the policy decided on what was said.
 * Throws `ToolResultError` where the answer is no list of documents.
 */
export function retrieved(
  source: SourceFacts,
  limit: number,
  value: Json,
  classesIn: (text: string) => readonly DataClass[],
): RetrievalResult {
  const parsed = answer.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const what = `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "unknown shape"}`;
    throw new ToolResultError(clip(`the source answered, but not with documents of { id, text }: ${what}`, 400));
  }
  const documents = parsed.data.map((document): RetrievedDocument => {
    const { id, title, score } = document;
    return {
      id,
      ...(typeof title === "string" ? { title } : {}),
      text: document.text,
      ...(typeof score === "number" ? { score } : {}),
      ...labelsOf(source.results, document.origin, document.confidentiality),
    };
  });
  const fitting = documents.filter((document) => fits(source, document, classesIn));
  return { documents: fitting.slice(0, limit), withheld: documents.length - fitting.length };
}

function labelsOf(
  ofSource: ResultLabels,
  origin: ResultLabels["origin"] | null | undefined,
  confidentiality: ResultLabels["confidentiality"] | null | undefined,
): ResultLabels {
  return {
    origin: origin === "untrusted" ? "untrusted" : ofSource.origin,
    confidentiality: confidentiality ?? ofSource.confidentiality,
  };
}

function fits(
  { results, dataClasses }: SourceFacts,
  document: RetrievedDocument,
  classesIn: (text: string) => readonly DataClass[],
): boolean {
  if (confidentialityOf(document) > confidentialityOf(results)) return false;
  if (dataClasses === undefined) return true;
  return classesIn([document.id, document.title ?? "", document.text].join("\n")).every((one) =>
    dataClasses.includes(one),
  );
}
