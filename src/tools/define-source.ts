import { defaultToolTimeoutMs, ToolError, toolProblem } from "./define-tool.ts";
import type { Tool, ToolContext } from "./define-tool.ts";
import type { Json } from "../core/json.ts";
import type { DataClass, ResultLabels } from "../core/labels.ts";
import { asTool } from "../core/retrieval.ts";
import { parseArguments } from "./arguments.ts";
import { clip } from "./clip.ts";
import type { SourceDocument } from "./documents.ts";

type SourceOptions = {
  /** Also the name of the function by which a model asks. */
  readonly name: string;
  /** What is in it, and when to look there: the model goes by it. */
  readonly description: string;
  /** Default: `read`. `egress` where the query leaves the company. */
  readonly effect?: "read" | "egress";
  readonly groups?: readonly string[];
  /** Whose text the documents are, and the highest confidentiality that one may have. */
  readonly results: ResultLabels;
  /** The kinds of personal or secret data that documents may hold; one with others is withheld. Default: any. */
  readonly dataClasses?: readonly DataClass[];
  /** The most documents that one query may bring. Default: 5. */
  readonly topK?: number;
  readonly short?: boolean;
  /** Default: 30 seconds. */
  readonly timeoutMs?: number;
  /** The documents that fit best, the best first; at most `limit` of them are used. It may be called again after a crash. */
  retrieve(
    query: string,
    limit: number,
    context: ToolContext,
  ): Promise<readonly SourceDocument[]> | readonly SourceDocument[];
};

/** Makes a source of documents from a function. Throws TypeError for one that no agent could have. */
export function defineSource(options: SourceOptions): Tool {
  const { name, description, results } = options;
  const definition = asTool({
    name,
    description,
    effect: options.effect ?? "read",
    groups: options.groups ?? [],
    results,
    ...(options.dataClasses === undefined ? {} : { dataClasses: options.dataClasses }),
    topK: options.topK ?? 5,
    short: options.short ?? false,
    timeoutMs: options.timeoutMs ?? defaultToolTimeoutMs,
  });
  const source: Tool = {
    definition,
    async execute(args, context) {
      const parsed = parseArguments(JSON.stringify(args), definition.parameters);
      if (!parsed.ok) throw new ToolError(parsed.problem);
      const { query, limit } = parsed.value as { readonly query: string; readonly limit: number };
      return (await options.retrieve(query, limit, context)) as unknown as Json;
    },
  };
  const problem = toolProblem(source);
  if (problem !== undefined) throw new TypeError(`source \`${clip(name, 64)}\`: ${problem}`);
  return source;
}
