import type { ArgumentType } from "./argument-types.ts";
import type { PolicyProblem } from "./errors.ts";
import { placeOfAnnotation } from "./places.ts";
import type { ReadPolicy } from "./policy.ts";
import { actionOfTool, groupsOfTool, inputOf } from "./schema.ts";
import type { PolicyTool } from "./schema.ts";
import { coversAction } from "./scope.ts";

/**
 * What is wrong with the arguments that `@amount` names, at the line of the annotation: an error where no tool that the policy covers has
 * such an argument, or one has it and it is no number, and a warning where some have none. Delegations with a limit never cover those.
 */
export function amountProblems(policies: Iterable<ReadPolicy>, tools: readonly PolicyTool[]): PolicyProblem[] {
  return [...policies].flatMap(({ id, text, scope, approval }): PolicyProblem[] => {
    const amount = approval?.find((one) => one.amount !== undefined)?.amount;
    const covered = tools.filter((tool) => coversAction(scope.action, actionOfTool(tool), groupsOfTool(tool)));
    if (amount === undefined || covered.length === 0) return [];
    const place = { policy: id, ...(placeOfAnnotation(text, "amount") ?? { line: 1, column: 1 }) };
    const typeIn = (tool: PolicyTool): ArgumentType | undefined => inputOf(tool).get(amount)?.type;
    const lacking = covered.filter((tool) => typeIn(tool) === undefined);
    const wrong = covered.filter((tool) => !lacking.includes(tool) && !isNumber(typeIn(tool)));
    const refuse = (what: string): PolicyProblem[] => [
      { severity: "error", ...place, message: `@amount: ${what}; ${candidates(covered)}` },
    ];
    if (wrong.length > 0) return refuse(`\`${amount}\` of ${named(wrong)} is no number`);
    if (lacking.length === covered.length) return refuse(`${named(lacking)} has no argument \`${amount}\``);
    if (lacking.length === 0) return [];
    const message = `@amount: ${named(lacking)} has no argument \`${amount}\`: delegations with a limit never cover its calls`;
    return [{ severity: "warning", ...place, message }];
  });
}

function isNumber(type: ArgumentType | undefined): boolean {
  return type?.kind === "long" || type?.kind === "decimal";
}

/** What could have been meant. */
function candidates(tools: readonly PolicyTool[]): string {
  const numbers = tools.flatMap((tool) => [...inputOf(tool)].filter(([, { type }]) => isNumber(type)));
  const names = [...new Set(numbers.map(([name]) => `\`${name}\``))];
  return names.length === 0 ? "it has no number: leave @amount out" : `name a number that it has: ${names.join(", ")}`;
}

function named(tools: readonly PolicyTool[]): string {
  return tools.map(({ name }) => `\`${name}\``).join(", ");
}
