import type { Barred } from "../core/decision.ts";
import type { RunInput } from "../core/run.ts";

/** The names that a run's subject may have here, lower case as those of principals and persons are: its id and its e-mail address. */
export function subjectNames({ subject }: Pick<RunInput, "subject">): readonly string[] {
  const names = [subject?.id, subject?.email].filter((name) => name !== undefined);
  return [...new Set(names.map((name) => name.trim().toLowerCase()))].filter((name) => name !== "");
}

/** Who of `persons` is barred, and why: the first reason that there is. */
export function barOf(barred: readonly Barred[], persons: readonly string[]): Barred | undefined {
  return barred.find(({ person }) => persons.includes(person));
}
