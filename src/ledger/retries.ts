const longestMs = 30_000;

/** When to try a log again that failed: twice as late each time, up to half a minute. */
export class Retries {
  readonly #firstMs: number;
  readonly #failed = new Map<string, { readonly delayMs: number; readonly at: number }>();

  constructor(firstMs: number) {
    this.#firstMs = firstMs;
  }

  due(log: string): boolean {
    const failed = this.#failed.get(log);
    return failed === undefined || performance.now() >= failed.at;
  }

  failed(log: string): void {
    const delayMs = Math.min((this.#failed.get(log)?.delayMs ?? this.#firstMs) * 2, longestMs);
    this.#failed.set(log, { delayMs, at: performance.now() + delayMs });
  }

  succeeded(log: string): void {
    this.#failed.delete(log);
  }
}
