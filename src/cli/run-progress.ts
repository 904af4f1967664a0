import type { DecisionView, RunView, StepView, WatchEvent } from "../api/index.ts";
import { formatUsd } from "../core/money.ts";
import { named, retrievalIn } from "../core/retrieval.ts";
import type { RetrievalResult } from "../core/retrieval.ts";
import type { ModelResult, ToolResult } from "../core/transcript.ts";
import { wantedText } from "./approval-text.ts";
import { brief, localTime, safe } from "./terminal.ts";
import type { Terminal } from "./terminal.ts";

const shown = 160;

/** Prints a run's events as they come: `deltas` are the model's words while it speaks. */
export class RunProgress {
  readonly #terminal: Terminal;
  #speaking: number | undefined;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  show(event: WatchEvent): void {
    if (event.type === "delta") {
      this.#speak(event.seq, event.text);
      return;
    }
    const spoken = this.#speaking;
    this.#endSpeech();
    switch (event.type) {
      case "run":
        if (event.run.status === "running") this.#terminal.say(`${event.run.id} is running`);
        return;
      case "decision":
        for (const line of decisionLines(event.decision, event.step, this.#terminal)) this.#terminal.say(line);
        return;
      case "step":
        for (const line of stepLines(event.step, this.#terminal, spoken === event.step.seq)) this.#terminal.say(line);
        return;
      case "approval":
        for (const line of approvalLines(event.approval)) this.#terminal.say(line);
        return;
      case "closed":
        for (const line of closingLines(event.run, event.output, this.#terminal)) this.#terminal.say(line);
    }
  }

  #speak(seq: number, text: string): void {
    if (this.#speaking !== seq) this.#terminal.write("      ");
    this.#speaking = seq;
    this.#terminal.write(this.#terminal.colors.dim(safe(text)));
  }

  #endSpeech(): void {
    if (this.#speaking !== undefined) this.#terminal.write("\n");
    this.#speaking = undefined;
  }
}

/** `  3 tool refund {"amount_cents":1200}  allow (shop/small-refund)`, and what it waits for then. */
export function decisionLines(decision: DecisionView, step: StepView, terminal: Terminal): readonly string[] {
  const line = decisionLine(decision, step, terminal);
  const granted =
    decision.standingGrant === null
      ? []
      : [`      granted ahead: countersign approvals grant show ${decision.standingGrant}`];
  if (decision.cosigned === null) return [line, ...granted];
  const { witnesses, by } = decision.cosigned;
  const who = witnesses === 1 ? "a witness has" : `${witnesses} witnesses have`;
  return [line, ...granted, `      is made once ${who} cosigned that, until ${localTime(by)}`];
}

function decisionLine(decision: DecisionView, step: StepView, { colors }: Terminal): string {
  const place = String(step.seq).padStart(3);
  const what =
    step.kind === "model"
      ? `${decision.about === "answer" ? "answer of" : "model"} ${safe(step.name)}`
      : `${step.kind} ${safe(step.name)} ${brief(step.arguments ?? "", shown)}`;
  const why = [
    ...(decision.code === null ? [] : [decision.code]),
    ...decision.policies.filter(isPolicy).map(safe),
  ].join(", ");
  return `${place} ${what.trimEnd()}  ${paintedOutcome(decision.outcome, colors)}${why === "" ? "" : colors.dim(` (${why})`)}`;
}

/** A denial of the gate's own names itself where a policy's id would be, and its code says it already. */
function isPolicy(id: string): boolean {
  return !id.startsWith("gate:");
}

function paintedOutcome(outcome: DecisionView["outcome"], colors: Terminal["colors"]): string {
  switch (outcome) {
    case "allow":
      return colors.green("allow");
    case "deny":
      return colors.red("deny");
    case "require_approval":
      return colors.yellow("needs approval");
  }
}

function stepLines(step: StepView, { colors }: Terminal, spoken: boolean): readonly string[] {
  if (step.finishedAt === null) return [];
  const line = resultLine(step, spoken);
  return [
    ...(step.cosigning !== "covered"
      ? []
      : [colors.dim(`      made on the cosigned checkpoint of ${step.checkpoint} entries`)]),
    ...(line === undefined ? [] : [colors.dim(`      ${line}`)]),
  ];
}

/** What a finished step left, on one line. */
function resultLine(step: StepView, spoken: boolean): string | undefined {
  if (step.state === "unknown")
    return "outcome unknown: it may or may not have happened; somebody who looked says which: countersign approvals list";
  if (step.code === "no_room")
    return "no answer, and a budget has no room for another attempt; the model is asked again in a new step";
  if (step.result === undefined) return step.state === "done" ? undefined : step.state;
  // A model step that was denied left a denial, as a tool step does.
  const result = step.result as unknown as ModelResult | ToolResult;
  if ("content" in result && result.withheld === true) return `withheld: ${brief(result.problem ?? "", shown)}`;
  if ("content" in result) return result.content === "" || spoken ? undefined : `says: ${brief(result.content, shown)}`;
  switch (result.status) {
    case "ok": {
      const found = step.kind === "retrieval" ? retrievalIn(result.value) : undefined;
      if (found !== undefined) return foundLine(found);
      return `result: ${brief(typeof result.value === "string" ? result.value : JSON.stringify(result.value), shown)}`;
    }
    case "error":
      return `failed: ${brief(result.message, shown)}`;
    case "denied":
      return `${step.kind === "model" ? "denied" : "told the agent"}: ${brief(result.message, shown)}`;
  }
}

function foundLine({ documents, withheld }: RetrievalResult): string {
  const names = documents.length === 0 ? "nothing" : brief(documents.map(named).join("; "), shown);
  return `found: ${names}${withheld === 0 ? "" : `; ${withheld} withheld`}`;
}

function approvalLines(approval: Extract<WatchEvent, { type: "approval" }>["approval"]): readonly string[] {
  const decided = approval.decidedBy.map(
    (one) => `${one.decision === "approve" ? "approved" : "denied"} by ${one.reviewer}`,
  );
  if (approval.state !== "pending")
    return [`      ${approval.id} is ${approval.state}${decided.length === 0 ? "" : `: ${decided.join(", ")}`}`];
  if (approval.unanswered)
    return [
      `      a reviewer asks something: countersign approvals show ${approval.id}`,
      `      answer it: countersign approvals answer ${approval.id} "…"`,
    ];
  if (decided.length > 0) return [`      ${approval.id}: ${decided.join(", ")}; not enough yet`];
  const wanted = wantedText(approval.requirements);
  return [`      waits for ${wanted}; a reviewer decides with: countersign approvals approve ${approval.id}`];
}

export function closingLines(
  run: RunView,
  output: Extract<WatchEvent, { type: "closed" }>["output"],
  { colors }: Terminal,
): readonly string[] {
  const head = `${run.id} ${run.status} after ${run.steps} steps, ${formatUsd(run.spentMicroUsd)}`;
  const painted = run.status === "completed" ? colors.green(head) : colors.red(head);
  const why = run.failure === null ? [] : [`  ${run.failure.code}: ${safe(run.failure.message)}`];
  if (output === null) return [painted, ...why];
  return [painted, ...why, "text" in output ? safe(output.text) : safe(JSON.stringify(output.value, undefined, 2))];
}
