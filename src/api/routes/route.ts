import type { z } from "zod";

import type { Role } from "../common.schema.ts";

/** One route: server, client and OpenAPI document are all made from it. */
export type Route = {
  readonly method: "GET" | "POST";
  /** Parameters as `:name`. */
  readonly path: string;
  readonly summary: string;
  /** Who may call it, beside `admin`. `public` needs no token. */
  readonly access: "public" | readonly Exclude<Role, "admin">[];
  readonly params?: z.ZodObject;
  readonly query?: z.ZodType;
  readonly headers?: z.ZodType;
  readonly body?: z.ZodType;
  /** The status of success. */
  readonly status: 200 | 201 | 202;
  /** The status of the same response where it says that something is wrong. */
  readonly unwell?: 503;
  readonly response: z.ZodType;
  /** The response is a stream of server-sent events, each with one `response` as its data. */
  readonly stream?: true;
};

export const everyone = ["operator", "reviewer", "auditor"] as const;
export const readers = ["operator", "auditor"] as const;
