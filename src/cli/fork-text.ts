import type { ForkReport, ForkSide, StepComparison } from "../audit/index.ts";
import { formatUsd } from "../core/money.ts";
import { brief, safe, shortDigest } from "./terminal.ts";
import type { Terminal } from "./terminal.ts";

type Side = NonNullable<StepComparison["original"]>;

const lineCharacters = 160;
const marks = { same: " ", changed: "~", added: "+", missing: "-" } as const;

/** A fork beside its original, as a person reads it. Contents are shown, so mind who reads. */
export function sayFork({ say, colors }: Terminal, report: ForkReport): void {
  const { counts, outcome } = report;
  say();
  say(colors.bold(`fork of ${report.run} at step ${report.at}, with ${changesOf(report)}`));
  for (const step of report.steps) {
    const line = `${marks[step.status]} ${placeOf(step)} ${step.kind} ${safe(step.name)}: ${step.status}${aspects(step)}`;
    say(step.status === "same" ? colors.dim(line) : line);
    for (const detail of detailsOf(step)) say(`      ${detail}`);
  }
  say(`${counts.same} same, ${counts.changed} changed, ${counts.added} added, ${counts.missing} missing`);
  say();
  const { reads, wouldAct, wouldWait } = report;
  const answered = reads.filter(({ recorded }) => recorded !== null).length;
  say(`reads: ${answered} answered from the record, ${reads.length - answered} without an answer there; none was made`);
  say(`effects: ${wouldAct.length === 0 ? "none" : `${wouldAct.length} would have been done, and none was`}`);
  for (const { seq, name, effect, arguments: args } of wouldAct)
    say(`  step ${seq}: ${safe(name)}(${brief(JSON.stringify(args), lineCharacters)}), ${effect}`);
  for (const { seq, name, groups, answer, because } of wouldWait)
    say(
      `  step ${seq}: ${safe(name)} would wait for approval of ${safe(groups.join(", "))}; ${answer}: ${safe(because)}`,
    );
  say();
  say(`original: ${ending(report.original)}`);
  say(`fork:     ${ending(report.fork)}`);
  if (outcome.same) say("result: the same");
  else {
    say("result:");
    for (const { mark, line } of outcome.diff) {
      const text = `  ${mark} ${safe(line)}`;
      say(mark === "+" ? colors.green(text) : mark === "-" ? colors.red(text) : text);
    }
  }
  for (const note of report.notes) say(`note: ${safe(note)}`);
}

/** Why the comparison says nothing: the fork ended where its model could not be asked, or gave no proper answer. */
export function unansweredText({ fork: { failure } }: Pick<ForkReport, "fork">): string | undefined {
  if (failure?.code !== "model_unavailable") return undefined;
  return `the fork's model did not answer, so this does not say what the run would have done: ${safe(failure.message)}`;
}

function changesOf({ with: changed }: ForkReport): string {
  const texts = {
    model: `model ${safe(changed.model)}`,
    prompt: "another prompt",
    policy: `policies ${shortDigest(changed.policySet)}`,
  };
  return changed.changed.length === 0 ? "nothing changed" : changed.changed.map((one) => texts[one]).join(", ");
}

function placeOf({ original, fork }: StepComparison): string {
  if (original !== null && fork !== null && original.seq !== fork.seq) return `${original.seq}→${fork.seq}`;
  return String((fork ?? original)?.seq);
}

function aspects({ differs, effect, fork }: StepComparison): string {
  const unmade = effect !== undefined && effect !== "read" && fork?.state === "done" ? "; not made" : "";
  return `${differs.length === 0 ? "" : ` (${differs.join(", ")})`}${unmade}`;
}

function detailsOf({ status, differs, original, fork }: StepComparison): readonly string[] {
  if (status === "same") return [];
  const sides = [
    ["-", original],
    ["+", fork],
  ] as const;
  return sides.flatMap(([mark, side]) => {
    if (side === null) return [];
    const whole = status !== "changed";
    return [
      ...(side.arguments !== null && (whole || differs.includes("arguments")) ? [`asked: ${side.arguments}`] : []),
      ...(whole || differs.includes("decision") || differs.includes("policies")
        ? side.decisions.map(decisionText)
        : []),
      ...(whole || differs.includes("result") ? [`result: ${resultText(side)}`] : []),
    ].map((line) => `${mark} ${brief(line, lineCharacters)}`);
  });
}

function decisionText({ outcome, code, policies, onAnswer }: Side["decisions"][number]): string {
  const why = policies.length === 0 ? "" : ` by ${policies.join(", ")}`;
  return `policy${onAnswer ? " on the answer" : ""}: ${outcome}${code === null ? "" : ` (${code})`}${why}`;
}

function resultText({ result, state }: Side): string {
  if (typeof result !== "object" || result === null || Array.isArray(result)) return state;
  const { content, toolCalls } = result as { content?: unknown; toolCalls?: unknown };
  if (typeof content !== "string" || !Array.isArray(toolCalls)) return JSON.stringify(result);
  const calls = (toolCalls as readonly { name: string; arguments: string }[]).map(
    ({ name, arguments: args }) => `${name}(${args})`,
  );
  return [...(content === "" ? [] : [content]), ...calls].join("; ");
}

function ending({ status, failure, steps, costMicroUsd, tokens }: ForkSide): string {
  const why = failure === null ? "" : ` (${failure.code}: ${safe(failure.message)})`;
  return `${status}${why} after ${steps} ${steps === 1 ? "step" : "steps"}; from the fork on ${formatUsd(costMicroUsd)}, ${tokens.input} tokens in, ${tokens.output} out`;
}
