import type { Json } from "../../core/json.ts";
import { unsentAnswer, withheldAnswer } from "../../core/transcript.ts";
import type { ModelResult } from "../../core/transcript.ts";
import { sealPayload } from "../../store/index.ts";
import type { SealedPayload } from "../../store/index.ts";
import { renderAnswer } from "../approved/rendered.ts";
import { isShadow } from "../decision/asked.ts";
import { denialText } from "../decision/decided.ts";
import { sealingIn } from "../governed-call.ts";
import type { Answered } from "./answered.ts";
import { withProblem } from "./fit.ts";
import type { Judged } from "./judge.ts";

/** What goes further: the answer, or what stands in its place. Undefined while people are asked. */
export function resultOf(answered: Answered, judged: Judged): SealedPayload | undefined {
  const { decision } = judged;
  switch (decision.outcome) {
    case "allow":
      return isShadow(decision)
        ? sealPayload(sealingIn(answered.run), unsentIn(answered) as unknown as Json)
        : (effectiveIn(answered, judged) ?? sealedAnswer(answered));
    case "deny":
      return sealPayload(sealingIn(answered.run), withheldAnswer(denialText(decision)) as unknown as Json);
    case "require_approval":
      return undefined;
  }
}

/** What obligations make of the answer, where they change it. */
export function effectiveIn({ run }: Answered, { decision, effective }: Judged): SealedPayload | undefined {
  if (effective === undefined || decision.outcome === "deny") return undefined;
  return sealPayload(sealingIn(run), effective as unknown as Json);
}

export function sealedAnswer({ run, answer }: Answered): SealedPayload {
  return sealPayload(sealingIn(run), answer as unknown as Json);
}

/** What people are asked about: the answer as it would go further. */
export function renderedOf({ step, answer }: Answered, { facts, effective }: Judged): string {
  return renderAnswer(step, answer, facts.response.answer, effective);
}

function unsentIn({ run }: Answered): ModelResult {
  return withProblem(unsentAnswer, run.release.document.output);
}
