import { z } from "zod";

import { parseYaml } from "../core/yaml-document.schema.ts";
import type { YamlProblem } from "../core/yaml-document.schema.ts";
import { didYouMean } from "../core/did-you-mean.ts";
import { RegistryError } from "./errors.ts";
import { agentSchema, fieldsAt, manifestSchema } from "./manifest.schema.ts";
import type { AgentInCode, AgentInput, AgentManifest } from "./manifest.schema.ts";

/** Reads a manifest. Throws `manifest_invalid` with every problem as `file:line:column: path: message`, a line each. */
export function parseManifest(text: string, fileName: string): AgentManifest {
  const parsed = parseYaml(text, manifestSchema);
  if (parsed.ok) return parsed.value;
  const lines = parsed.problems
    .toSorted((a, b) => a.line - b.line || a.column - b.column)
    .map((problem) => {
      const { line, column, path } = problem;
      return `${fileName}:${line}:${column}: ${path === "" ? "" : `${path}: `}${explained(problem)}`;
    });
  throw new RegistryError("manifest_invalid", lines.join("\n"), {
    hint: "examples/support/agent.yaml shows every field",
  });
}

function explained({ path, message }: YamlProblem): string {
  const unset = /^invalid input: expected (.+), received undefined$/.exec(message);
  if (unset !== null) return `is missing: expected ${unset[1] ?? "a value"}`;
  if (message !== "is not a field here") return message;
  const parts = path.split(".");
  const meant = didYouMean(parts.at(-1) ?? "", fieldsAt(parts.slice(0, -1).join(".")));
  return meant === undefined ? message : `${message}; did you mean \`${meant}\`?`;
}

/** An agent in code: the fields of a manifest, with tools as values. Throws `manifest_invalid`. */
export function defineAgent(agent: AgentInput): AgentInCode {
  const parsed = agentSchema.safeParse(agent);
  if (parsed.success) return parsed.data;
  throw new RegistryError(
    "manifest_invalid",
    `agent \`${agent.name}\`: ${z.prettifyError(parsed.error).replaceAll("\n", "; ")}`,
  );
}
