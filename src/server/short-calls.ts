import { askedContents, shortArguments } from "../approvals/index.ts";
import type { ApprovalRequest, AskedContents } from "../approvals/index.ts";
import type { ApprovalId, Digest } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import type { ModelResult } from "../core/transcript.ts";
import { releaseByDigest } from "../registry/index.ts";
import { getPayloads } from "../store/index.ts";
import type { PayloadKeys, Tx } from "../store/index.ts";
import { objectIn } from "./recorded-call.ts";

const shortCharacters = 120;

/** What requests are about on a line each, from the record: to tell them apart. None for one whose contents are not there any more. */
export async function shortCalls(
  tx: Tx,
  keys: PayloadKeys,
  requests: readonly ApprovalRequest[],
): Promise<ReadonlyMap<ApprovalId, string>> {
  const asked = await askedContents(
    tx,
    requests.map(({ id }) => id),
  );
  const digests = asked.flatMap((one) => one.effective ?? one.edited ?? one.answer ?? one.asking ?? []);
  const releases = [...new Set(asked.map(({ release }) => release))];
  const [payloads, documents] = await Promise.all([
    getPayloads(tx, keys, digests),
    Promise.all(releases.map(async (digest) => [digest, (await releaseByDigest(tx, digest)).document] as const)),
  ]);
  const documentOf = new Map(documents);
  return new Map(
    asked.flatMap((one) => {
      const args = argumentsIn(one, payloads);
      const tool = documentOf.get(one.release)?.tools.find(({ name }) => one.kind !== "model" && name === one.name);
      return args === undefined ? [] : [[one.request, shortArguments(args, tool, shortCharacters)] as const];
    }),
  );
}

/** As the call would be made: as policies make it, else as a reviewer changed it, else as it was asked for. Of an answer, what it says. */
function argumentsIn(
  { effective, edited, answer, asking, callIndex }: AskedContents,
  payloads: ReadonlyMap<Digest, Json>,
): Json | undefined {
  const given = effective ?? edited;
  if (given !== null) return payloads.get(given);
  const saying = answer ?? asking;
  const said = saying === null ? undefined : (payloads.get(saying) as ModelResult | undefined);
  if (said === undefined) return undefined;
  if (answer === null) return objectIn(said.toolCalls[callIndex ?? -1]?.arguments);
  const calls = said.toolCalls.map((call) => ({ name: call.name, arguments: call.arguments }));
  return { text: said.content, ...(calls.length === 0 ? {} : { calls }) };
}
