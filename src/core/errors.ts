/**
 * The base of every room's error class. Errors are told apart by `code`, never by prototype: they cross processes.
 * `message`: one line, lower case, what was expected and what was got, never arguments, prompts or secrets.
 * `hint`: what the reader can do next.
 */
export class CodedError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly hint: string | undefined;

  constructor(code: Code, message: string, options: { cause?: unknown; hint?: string } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.hint = options.hint;
  }
}

/** The `code` of an error that carries one, whatever its class or realm. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
