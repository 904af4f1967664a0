import { isLoopback } from "../core/loopback.ts";

/**
 * Where a worker's model computes, for policies: what the operator says in COUNTERSIGN_MODEL_REGION; else `local` where its server is on this
 * machine (`baseUrl` absent: the scripted one), and `unknown` for any other, which is on no list of regions that data may go to.
 */
export function modelRegionOf(env: Readonly<Record<string, string | undefined>>, baseUrl: string | undefined): string {
  const named = env["COUNTERSIGN_MODEL_REGION"] || undefined;
  if (named !== undefined) return named;
  const host = baseUrl === undefined ? "localhost" : (URL.parse(baseUrl)?.hostname ?? "");
  return isLoopback(host) ? "local" : "unknown";
}
