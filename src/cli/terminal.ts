import { createInterface } from "node:readline/promises";

import Table from "cli-table3";
import pc from "picocolors";

/** Where a command writes: people read `say` and `table`; programs read the one document of `--json`. */
export type Terminal = {
  readonly json: boolean;
  readonly interactive: boolean;
  readonly colors: ReturnType<typeof pc.createColors>;
  /** A line for people. Nothing with `--json`. */
  readonly say: (line?: string) => void;
  /** Without a line's end, for text that comes in pieces. */
  readonly write: (text: string) => void;
  /** Progress and warnings: to stderr, with `--json` too. */
  readonly note: (line: string) => void;
  table(head: readonly string[], rows: readonly (readonly string[])[]): void;
  /** The command's result: printed with `--json` only. */
  result(value: unknown): void;
  /** Asks y/N. False where nobody is there to answer. */
  confirm(question: string): Promise<boolean>;
};

type Streams = {
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly stdin: NodeJS.ReadStream;
};

export function createTerminal(
  options: { readonly json: boolean; readonly color: boolean },
  streams: Streams = process,
): Terminal {
  const { stdout, stderr, stdin } = streams;
  const isTerminal = stdout.isTTY === true;
  const colors = pc.createColors(options.color && isTerminal && process.env["NO_COLOR"] === undefined);
  const say = (line = "") => {
    if (!options.json) stdout.write(`${line}\n`);
  };
  return {
    json: options.json,
    interactive: isTerminal && stdin.isTTY === true && !options.json,
    colors,
    say,
    write(text) {
      if (!options.json) stdout.write(text);
    },
    note: (line) => void stderr.write(`${line}\n`),
    table(head, rows) {
      for (const line of isTerminal ? boxed(head, rows, colors.bold) : plain(head, rows)) say(line);
    },
    result(value) {
      if (options.json) stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
    },
    async confirm(question) {
      if (!isTerminal || stdin.isTTY !== true) return false;
      const reader = createInterface({ input: stdin, output: stderr });
      try {
        return /^y(es)?$/i.test((await reader.question(`${question} [y/N] `)).trim());
      } finally {
        reader.close();
      }
    },
  };
}

function boxed(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  bold: (text: string) => string,
): readonly string[] {
  const table = new Table({ head: head.map(bold), style: { head: [], border: [] }, wordWrap: true });
  table.push(...rows.map((row) => [...row]));
  return [table.toString()];
}

/** For files and pipes: columns with two spaces between, no lines, no colours. */
function plain(head: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const all = [head, ...rows].map((row) => row.map((cell) => cell.replaceAll(/\s+/g, " ")));
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

/**
 * Text from elsewhere (models, tools, other people) as it may be shown: what a terminal would obey, or what would make text read as
 * something else, is written out.
 */
export function safe(text: string): string {
  return text.replace(
    /[^\P{Cc}\n\t]|[\p{Cf}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16) ?? ""}}`,
  );
}

/** On one line, cut to `length` characters. */
export function brief(text: string, length: number): string {
  const line = safe(text).replaceAll(/\s+/g, " ").trim();
  return line.length <= length ? line : `${line.slice(0, length - 1)}…`;
}

const clock = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" });

/** An ISO time in the local time zone. */
export function localTime(iso: string | null): string {
  return iso === null ? "" : clock.format(new Date(iso));
}

export function shortDigest(digest: string): string {
  return digest.slice(0, 12);
}

/** `1 error`, `2 errors`, `0 policies`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
