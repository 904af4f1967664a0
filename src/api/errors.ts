import { z } from "zod";

import { CodedError } from "../core/errors.ts";
import { errorCodes, isErrorCode } from "./error-codes.ts";
import type { ErrorCode } from "./error-codes.ts";

/** The body of every answer that is not 2xx. */
export const errorBody = z
  .object({
    error: z.object({
      code: z.string().describe("stable; see the table of error codes"),
      message: z.string().describe("what happened, for a person"),
      hint: z.string().optional().describe("what to do next"),
    }),
  })
  .meta({ id: "Error" });
export type ErrorBody = z.output<typeof errorBody>;

/** What a client meets before there is an answer to read. */
export type ClientErrorCode = "server_unreachable" | "timeout" | "answer_malformed" | "stream_broken";

/** A refusal by the API, or the failure to reach it. `status` is absent where there was no answer. */
export class ApiError extends CodedError<ErrorCode | ClientErrorCode> {
  readonly status: number | undefined;
  readonly retryable: boolean;

  constructor(code: ErrorCode | ClientErrorCode, message: string, options: { cause?: unknown; hint?: string } = {}) {
    super(code, message, options);
    this.status = isErrorCode(code) ? errorCodes[code].status : undefined;
    this.retryable = isErrorCode(code) ? errorCodes[code].retryable : true;
  }
}

export function bodyOf(error: {
  readonly code: string;
  readonly message: string;
  readonly hint?: string | undefined;
}): ErrorBody {
  const { code, message, hint } = error;
  return { error: hint === undefined ? { code, message } : { code, message, hint } };
}
