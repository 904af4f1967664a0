import { z } from "zod";

import { renderHints } from "./render.ts";

/** A tool's `render`: how each of its top-level arguments is to be read. */
export const renderHintsByName = z
  .record(z.string().min(1).max(128), z.enum(renderHints))
  .refine((hints) => Object.keys(hints).length <= 100, "at most 100 arguments")
  .refine((hints) => {
    const given = Object.values(hints);
    const count = (wanted: string): number => given.filter((hint) => hint === wanted).length;
    return count("before") === count("after") && count("before") <= 1;
  }, "`before` and `after` go together, once");
