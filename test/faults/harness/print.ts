import { faultKinds, faultPoints } from "../../../src/faults/index.ts";
import type { FaultPoint } from "../../../src/faults/index.ts";
import type { CaseResult } from "./case.ts";

/** A table: for each point its hits in an undisturbed world, and how many cases of each kind went well, of how many. */
export function summaryLines(results: readonly CaseResult[], hits: ReadonlyMap<FaultPoint, number>): readonly string[] {
  const cell = (point: FaultPoint, kind: string): string => {
    const of = results.filter(({ struck }) => struck.some((fault) => fault.point === point && fault.kind === kind));
    return of.length === 0 ? "-" : `${of.filter(({ problems }) => problems.length === 0).length}/${of.length}`;
  };
  const row = (cells: readonly string[]): string =>
    cells.map((text, place) => (place === 0 ? text.padEnd(20) : text.padStart(14))).join("");
  return [
    "",
    row(["point", "hits", ...faultKinds]),
    ...faultPoints.map((point) =>
      row([point, String(hits.get(point) ?? 0), ...faultKinds.map((kind) => cell(point, kind))]),
    ),
    "",
  ];
}
