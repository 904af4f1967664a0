import { fileURLToPath } from "node:url";

import type { Client } from "@temporalio/client";
import type { DataConverter, Payload, PayloadCodec, SerializationContext } from "@temporalio/common";
import proto from "@temporalio/proto";
import { LRUCache } from "lru-cache";

import { runIdPattern } from "../core/ids.ts";
import type { RunId } from "../core/ids.ts";
import type { Json, JsonObject } from "../core/json.ts";
import { openBytes, runContentKey, sealBytes, StoreError } from "../store/index.ts";
import type { ContentKey, PayloadKeys, Tx } from "../store/index.ts";

/** As in Temporal's own samples, so that their tools know what they see. */
const encryptedEncoding = "binary/encrypted";
const keyIdField = "encryption-key-id";

const { Payload: PayloadMessage } = proto.temporal.api.common.v1;

/** How long a run's key is remembered. The contents of a run at work are never erased, so that is no window for anybody. */
const rememberedForMs = 60_000;
const rememberedKeys = 10_000;

/**
 * What Temporal keeps is encrypted under the key of the run that it belongs to, with AES-256-GCM: whoever holds Temporal's database reads
 * nothing, and an erasure reaches it. What belongs to no run that has a key is under the deployment's. What is not encrypted (histories
 * of before) passes through. Throws `contents_erased`, `payload_corrupt`, and what the store throws: nothing goes to Temporal in the clear.
 */
export function createPayloadCodec(tx: Tx, keys: PayloadKeys): PayloadCodec {
  const known = new LRUCache<string, Promise<ContentKey | undefined>>({ max: rememberedKeys, ttl: rememberedForMs });
  const keyOf = (run: RunId): Promise<ContentKey | undefined> => {
    const found = known.get(run) ?? runContentKey(tx, keys, run);
    known.set(run, found);
    // What failed is asked for again.
    found.catch(() => known.delete(run));
    return found;
  };
  return {
    async encode(payloads, context) {
      if (payloads.length === 0) return payloads;
      const run = runOf(context);
      const key = (run === undefined ? undefined : await keyOf(run)) ?? keys.current;
      return payloads.map((payload) => encrypted(key, payload));
    },
    decode: (payloads) =>
      Promise.all(
        payloads.map(async (payload) => {
          const id = keyIdOf(payload);
          if (id === undefined) return payload;
          return decrypted(runIdPattern.test(id) ? await keyOf(id as RunId) : keys.find(id), id, payload);
        }),
      ),
  };
}

/** Temporal loads it by its path, and the workflow bundle has it. */
export const failureConverterPath = fileURLToPath(new URL("./failure-converter.ts", import.meta.url));

/** All that goes to Temporal through the codec: inputs, results, and what failures say. */
export function converterWith(codec: PayloadCodec): DataConverter {
  return { failureConverterPath, payloadCodecs: [codec] };
}

/** Whose contents a payload holds; undefined where it is not encrypted, or under no run's key. */
export function runOfPayload(payload: Payload): RunId | undefined {
  const id = keyIdOf(payload);
  return id !== undefined && runIdPattern.test(id) ? (id as RunId) : undefined;
}

/** A history's protobuf JSON with its payloads in the clear, as the codec of `client` opens them; without a codec, as it is. */
export async function decodedHistory(client: Client, history: Json): Promise<Json> {
  const codecs = client.options.loadedDataConverter.payloadCodecs;
  if (codecs.length === 0) return history;
  const decode = async (payload: Payload): Promise<Payload> => {
    let found = payload;
    for (const codec of codecs.toReversed()) [found = payload] = await codec.decode([found]);
    return found;
  };
  return decodedIn(history, decode);
}

async function decodedIn(value: Json, decode: (payload: Payload) => Promise<Payload>): Promise<Json> {
  if (Array.isArray(value)) return Promise.all(value.map((inner) => decodedIn(inner, decode)));
  if (typeof value !== "object" || value === null) return value;
  const object = value as JsonObject;
  const payload = payloadOf(object);
  if (payload !== undefined && keyIdOf(payload) !== undefined) return jsonOf(await decode(payload));
  const entries = Object.entries(object).map(async ([name, inner]) => [name, await decodedIn(inner, decode)] as const);
  return Object.fromEntries(await Promise.all(entries));
}

function runOf(context: SerializationContext | undefined): RunId | undefined {
  const id = context?.workflowId;
  return id !== undefined && runIdPattern.test(id) ? (id as RunId) : undefined;
}

function keyIdOf({ metadata }: Payload): string | undefined {
  const encoding = metadata?.["encoding"];
  const id = metadata?.[keyIdField];
  if (encoding === undefined || id === undefined || textOf(encoding) !== encryptedEncoding) return undefined;
  return textOf(id);
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("utf8");
}

function encrypted({ id, key }: ContentKey, payload: Payload): Payload {
  const plain = PayloadMessage.encode(payload).finish();
  return {
    metadata: { encoding: Buffer.from(encryptedEncoding), [keyIdField]: Buffer.from(id) },
    data: sealBytes(key, plain, associatedData(id)),
  };
}

function decrypted(key: ContentKey | undefined, id: string, { data }: Payload): Payload {
  if (key === undefined)
    throw new StoreError("key_unusable", `a payload in Temporal is under key \`${id}\`, which is not here`);
  let plain: Buffer;
  try {
    plain = openBytes(key.key, data ?? Buffer.alloc(0), associatedData(id));
  } catch (cause) {
    throw new StoreError("payload_corrupt", `a payload in Temporal under key \`${id}\` does not decrypt`, { cause });
  }
  const { metadata, data: inner } = PayloadMessage.decode(plain);
  return { metadata, data: inner };
}

function associatedData(id: string): string {
  return `countersign/temporal/v1\n${id}`;
}

/** The payload that this is in protobuf JSON, if any. */
function payloadOf({ metadata, data, ...more }: JsonObject): Payload | undefined {
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata) || typeof data !== "string")
    return undefined;
  if (Object.keys(more).length > 0) return undefined;
  const fields = Object.entries(metadata).map(([name, text]) => [name, typeof text === "string" ? text : ""] as const);
  return {
    metadata: Object.fromEntries(fields.map(([name, text]) => [name, Buffer.from(text, "base64")])),
    data: Buffer.from(data, "base64"),
  };
}

function jsonOf({ metadata, data }: Payload): Json {
  const fields = Object.entries(metadata ?? {}).map(([name, bytes]) => [name, Buffer.from(bytes).toString("base64")]);
  const encoded = Buffer.from(data ?? Buffer.alloc(0)).toString("base64");
  return { metadata: Object.fromEntries(fields) as JsonObject, ...(encoded === "" ? {} : { data: encoded }) };
}
