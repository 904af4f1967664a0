/** A question in JSON to a server that is not ours, and may do with the connection what it wants. */
export type JsonQuestion = {
  readonly endpoint: URL;
  /** JSON. */
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** For all of it: name, connection, the answer's last byte. */
  readonly timeoutMs: number;
  /** Counted after decompression; no more is ever held. */
  readonly maxAnswerBytes: number;
};

export type JsonAnswer =
  | { readonly status: "answered"; readonly value: unknown; readonly headers: Headers }
  /** `reason` goes on from the server's name, such as "answered with status 500"; it holds nothing of question, answer and address. */
  | { readonly status: "failed"; readonly reason: string };

/**
 * Asks once. Never throws: a time-out, a refused connection, a redirect, another status than 200 or type than `application/json`, an answer
 * that is too long, not UTF-8, not JSON, or JSON in which an object has two members of one name, are all failures.
 */
export async function postJson(question: JsonQuestion): Promise<JsonAnswer> {
  const { endpoint, body, headers, timeoutMs, maxAnswerBytes } = question;
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const answer = await fetch(endpoint, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json", ...headers },
      body,
      // A redirect could lead anywhere, and would take the question along.
      redirect: "manual",
      signal,
    });
    const refused = refusalOf(answer);
    if (refused !== undefined) {
      await answer.body?.cancel();
      return failed(refused);
    }
    const bytes = await readBounded(answer, maxAnswerBytes);
    return bytes === undefined ? failed("gave an answer that is too long") : answeredWith(bytes, answer.headers);
  } catch {
    return failed(signal.aborted ? `did not answer in ${timeoutMs} ms` : "cannot be reached");
  }
}

function failed(reason: string): JsonAnswer {
  return { status: "failed", reason };
}

function refusalOf({ status, headers }: Response): string | undefined {
  if (status !== 200) return `answered with status ${status}`;
  const type = headers.get("content-type")?.split(";", 1)[0]?.trim().toLowerCase();
  return type === "application/json" ? undefined : "gave an answer that is not application/json";
}

/** Undefined where it is longer. Leaving the loop closes the connection. */
async function readBounded(answer: Response, most: number): Promise<Uint8Array | undefined> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of answer.body ?? []) {
    length += piece.length;
    if (length > most) return undefined;
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function answeredWith(bytes: Uint8Array, headers: Headers): JsonAnswer {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    value = JSON.parse(text);
  } catch {
    return failed("gave an answer that is no JSON");
  }
  return hasTwins(text)
    ? failed("gave an answer with two members of one name")
    : { status: "answered", value, headers };
}

/**
 * Whether an object in `json`, a valid text, has two members of one name: readers differ in which they take, and so in what was said.
 * RFC 7493 (I-JSON), 2.3.
 */
function hasTwins(json: string): boolean {
  const open: Set<string>[] = [];
  for (const [token, name, colon] of json.matchAll(/[{}]|("(?:[^"\\]|\\.)*")\s*(:)?/g)) {
    if (token === "{") open.push(new Set());
    else if (token === "}") open.pop();
    else if (colon !== undefined && name !== undefined) {
      const known = open.at(-1);
      const unescaped = JSON.parse(name) as string;
      if (known?.has(unescaped) === true) return true;
      known?.add(unescaped);
    }
  }
  return false;
}
