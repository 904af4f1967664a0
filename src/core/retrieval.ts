import type { DataClass, ResultLabels } from "./labels.ts";
import { confidentialities } from "./labels.ts";
import type { ReleaseDocument, ToolDefinition, ToolImplementation } from "./release.ts";

/** The kinds of step that a model asks for by calling a function. */
export const callKinds = ["tool", "retrieval"] as const;
export type CallKind = (typeof callKinds)[number];

/** What a release says of a place that documents are retrieved from. */
export type SourceFacts = {
  /** Also the name of the function by which a model asks. */
  readonly name: string;
  readonly description: string;
  /** `egress`: the query leaves the company. */
  readonly effect: "read" | "egress";
  /** Risk groups, as of a tool. */
  readonly groups: readonly string[];
  /**
   * The best that its documents may be, and the highest: one that says nothing of itself has these labels, one from others is `untrusted`
   * where it says so, and one that says it is more confidential is withheld.
   */
  readonly results: ResultLabels;
  /** The kinds of personal or secret data that its documents may hold; one with others is withheld. Absent: any. */
  readonly dataClasses?: readonly DataClass[];
  /** The most documents that one query may bring. */
  readonly topK: number;
  readonly short: boolean;
  readonly timeoutMs: number;
};

/** A source as a release pins it: its code by its bytes, or its address. */
export type RetrievalSource = SourceFacts & { readonly implementation: ToolImplementation };

/** Whatever a model may call. A source is a tool that takes a query, and whose results are documents. */
export type Callable = ToolDefinition & { readonly source?: SourceFacts };

/** The most characters of a query, and the most that `topK` may be. */
export const maxQueryCharacters = 2_000;
export const maxTopK = 100;

/** A source as the tool that it is. */
export function asTool(facts: SourceFacts): Omit<Callable, "implementation"> {
  const { name, description, effect, groups, results, topK, short, timeoutMs } = facts;
  return {
    name,
    description,
    // Both are asked for: what a policy sees and caps is what is searched for.
    parameters: {
      type: "object",
      properties: {
        query: { type: "string", minLength: 1, maxLength: maxQueryCharacters, description: "What to look for" },
        limit: { type: "integer", minimum: 1, maximum: topK, description: "The most documents to bring" },
      },
      required: ["query", "limit"],
      additionalProperties: false,
    },
    effect,
    groups,
    // A query that is sent twice brings the same documents, and changes nothing.
    idempotency: "key",
    short,
    timeoutMs,
    // Where it is sent is pinned: no argument says so.
    destinations: [],
    results,
    source: facts,
  };
}

/** All that the model of a release may call: its tools, then its sources. Names are unique among them. */
export function callablesOf({
  tools,
  retrieval = [],
}: Pick<ReleaseDocument, "tools" | "retrieval">): readonly Callable[] {
  if (retrieval.length === 0) return tools;
  return [...tools, ...retrieval.map(({ implementation, ...facts }) => ({ ...asTool(facts), implementation }))];
}

/** Which kind of step a call of it is. */
export function kindOf({ source }: { readonly source?: object }): CallKind {
  return source === undefined ? "tool" : "retrieval";
}

/** A document as it was retrieved, with whose text it is. */
export type RetrievedDocument = ResultLabels & {
  /** Its name in the source. */
  readonly id: string;
  readonly title?: string;
  readonly text: string;
  /** How well it fits the query, by the source's own measure. */
  readonly score?: number;
};

/** What a retrieval leaves as its result's value: the best document first. */
export type RetrievalResult = {
  readonly documents: readonly RetrievedDocument[];
  /** How many more there were that are not what the release says of the source. */
  readonly withheld: number;
};

/** The documents in a recorded result; undefined where it is none, such as that of a call in shadow. */
export function retrievalIn(value: unknown): RetrievalResult | undefined {
  if (typeof value !== "object" || value === null || !("documents" in value)) return undefined;
  return Array.isArray(value.documents) ? (value as RetrievalResult) : undefined;
}

/** A document as a person is told of it: `leave.md (trusted, internal)`. */
export function named({ id, origin, confidentiality }: RetrievedDocument): string {
  return `${id} (${origin}, ${confidentiality})`;
}

/** A source's classification as policies see it: its place in the list of confidentialities, from 0. */
export function confidentialityOf({ confidentiality }: ResultLabels): number {
  return confidentialities.indexOf(confidentiality);
}
