/** The resources of C2SP tlog-tiles below a log's prefix, as paths. Pure. */
import { tileWidth } from "./tile-math.ts";

export type TileResource =
  | { readonly kind: "hashes"; readonly level: number; readonly n: number; readonly width: number }
  | { readonly kind: "entries"; readonly n: number; readonly width: number };

/** `0/x001/x234/067`, `entries/000.p/12`: undefined for anything but the one spelling of a resource. */
export function parseTilePath(path: string): TileResource | undefined {
  const match = /^(entries|[0-9]{1,2})\/((?:x[0-9]{3}\/){0,4}[0-9]{3})(?:\.p\/([0-9]{1,3}))?$/.exec(path);
  if (match === null) return undefined;
  const [, kind = "", index = "", partial] = match;
  const n = Number(index.replaceAll(/[x/]/g, ""));
  const width = partial === undefined ? tileWidth : Number(partial);
  if (width < 1 || (partial !== undefined && width >= tileWidth)) return undefined;
  const resource: TileResource =
    kind === "entries" ? { kind: "entries", n, width } : { kind: "hashes", level: Number(kind), n, width };
  // Leading zeroes, and `x000` before an index that is shorter, would be second names of the same thing.
  return tilePath(resource) === path && (resource.kind === "entries" || resource.level <= 63) ? resource : undefined;
}

export function tilePath(resource: TileResource): string {
  const digits = String(resource.n);
  const padded = digits.padStart(Math.ceil(digits.length / 3) * 3, "0");
  const elements = padded.match(/.{3}/g) ?? [];
  const index = elements.map((element, place) => (place < elements.length - 1 ? `x${element}` : element)).join("/");
  const partial = resource.width === tileWidth ? "" : `.p/${resource.width}`;
  return `${resource.kind === "entries" ? "entries" : resource.level}/${index}${partial}`;
}

/** How many hashes, or entries, the resource's tile has in a tree of `size`: 0 where the tree does not reach it. */
export function widthInTree(resource: TileResource, size: number): number {
  const level = resource.kind === "entries" ? 0 : resource.level;
  const nodes = Math.floor(size / tileWidth ** level);
  return Math.max(0, Math.min(tileWidth, nodes - resource.n * tileWidth));
}
