import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import MiniSearch from "minisearch";

import { defineSource } from "countersign";
import type { SourceDocument } from "countersign";

/** What everybody in the company may read. Two people keep it, and colleagues add notes: those say so at their top. */
export const handbook = defineSource({
  name: "handbook",
  description:
    "The staff handbook: holidays, leave, illness, journeys and expenses, and colleagues' notes about the house.",
  results: { origin: "trusted", confidentiality: "internal" },
  dataClasses: ["email"],
  topK: 5,
  short: true,
  retrieve: (query, limit) => search("handbook", query, limit),
});

/** The board's own band is in the same folder, and more than the release says of this source: it is withheld. */
export const salaries = defineSource({
  name: "salaries",
  description: "What each salary band pays.",
  results: { origin: "trusted", confidentiality: "confidential" },
  dataClasses: [],
  topK: 3,
  short: true,
  retrieve: (query, limit) => search("salaries", query, limit),
});

/** The best passages first, ranked by BM25+ over titles and texts. More than asked for: what is withheld takes no place. */
async function search(folder: string, query: string, limit: number): Promise<readonly SourceDocument[]> {
  const { index, passages } = await indexOf(join(root(), folder));
  return index
    .search(query, { boost: { title: 2 }, prefix: (term) => term.length > 3 })
    .slice(0, 4 * limit)
    .flatMap(({ id, score }) => {
      const passage = passages.get(id as string);
      return passage === undefined ? [] : [{ ...passage, score: Math.round(score * 1_000) / 1_000 }];
    });
}

type Index = { readonly index: MiniSearch; readonly passages: ReadonlyMap<string, SourceDocument> };

const indexes = new Map<string, { readonly of: string; readonly index: Promise<Index> }>();

/** Of the pages as they are now: they are made again when a page has changed. */
async function indexOf(folder: string): Promise<Index> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".md")).sort();
  const stats = await Promise.all(names.map((name) => stat(join(folder, name))));
  const of = names.map((name, place) => `${name} ${stats[place]?.mtimeMs} ${stats[place]?.size}`).join("\n");
  const known = indexes.get(folder);
  if (known?.of === of) return known.index;
  const index = makeIndex(folder, names);
  // What could not be read is read again the next time.
  index.catch(() => indexes.delete(folder));
  indexes.set(folder, { of, index });
  return index;
}

async function makeIndex(folder: string, names: readonly string[]): Promise<Index> {
  const pages = await Promise.all(
    names.map(async (name) => passagesOf(name, await readFile(join(folder, name), "utf8"))),
  );
  const passages = pages.flat();
  const index = new MiniSearch({ fields: ["title", "text"] });
  index.addAll(passages);
  return { index, passages: new Map(passages.map((passage) => [passage.id, passage])) };
}

/** A passage for each heading of a page, with what the page says of itself at its top. */
function passagesOf(name: string, page: string): readonly SourceDocument[] {
  const [, head = "", body = page] = /^---\n(.*?)\n---\n(.*)$/s.exec(page) ?? [];
  const labels = Object.fromEntries(
    head.split("\n").flatMap((line) => {
      const [key = "", value = ""] = line.split(": ");
      return value === "" ? [] : [[key, value.trim()]];
    }),
  ) as Pick<SourceDocument, "origin" | "confidentiality">;
  const [first = "", ...sections] = body.split(/^## /m);
  const heading = /^# (.*)$/m.exec(first)?.[1] ?? name;
  return sections.map((section) => {
    const [title = "", ...lines] = section.split("\n");
    const id = `${name}#${title.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`;
    return { id, title: `${heading}: ${title}`, text: lines.join("\n").trim(), ...labels };
  });
}

/** Beside this file, or where `HANDBOOK` says. */
const root = (): string => process.env["HANDBOOK"] ?? fileURLToPath(new URL("pages", import.meta.url));
