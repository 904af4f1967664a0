/** How far the clocks of an operator's machines may be apart, in milliseconds. */
const clockToleranceMs = 1_000;

/** A policy set that was put in force, by its entry in the log. `at`: ISO 8601 in UTC. */
export type Activation = { readonly index: number; readonly at: string; readonly policySet: string };

/**
 * Why a decision was not made under the policy set that was in force when it was begun; undefined where it was. The first `count` of
 * `activations`: those with a smaller index than the decision's, in their order. The set is the one put in force last, or an earlier one where each later one came only after
 * the decision was begun: a decision reads what is in force, and is entered a moment later.
 */
export function notInForce(
  activations: readonly Activation[],
  decided: { readonly seq: string; readonly at: string; readonly policySet: string },
  count = activations.length,
): string | undefined {
  if (activations.at(-1)?.policySet === decided.policySet) return undefined;
  const begun = Date.parse(decided.at);
  for (let place = count - 1; place >= 0; place -= 1) {
    const activation = activations[place];
    if (activation?.policySet === decided.policySet) return undefined;
    if (!(Date.parse(activation?.at ?? "") >= begun - clockToleranceMs)) break;
  }
  const inForce = activations[count - 1]?.policySet.slice(0, 12) ?? "none";
  return `step ${decided.seq} was decided under \`${decided.policySet.slice(0, 12)}\`, in force was \`${inForce}\``;
}
