import { askRemote, evaluationRequest, noAnswer } from "../../policy/index.ts";
import type { PolicyRequest, RemoteAnswer, RemoteOptions } from "../../policy/index.ts";
import { createTurns } from "../turns.ts";
import type { Place } from "../turns.ts";

/** Where an answer to a request comes from. */
export type Answering = (request: PolicyRequest) => Promise<RemoteAnswer>;

/** A remote decision point, while one decision is made. */
export type Asking = {
  /** Asks it, unless it has answered this very request: where no transaction is open. */
  readonly ask: Answering;
  /** What it has answered to this very request. Where it has not been asked, the transaction MUST end: it throws, and all begins again once it has. */
  readonly told: Answering;
};

/**
 * Decides with what a remote decision point says; `decide` gets undefined where there is none. It may be called several times: what it
 * does before an answer is there MUST be undone when it throws, as in a transaction. `places` are those of the facts that others change; `unsettled`
 * stands for an answer where these have changed each time.
 */
export type DecideRemotely = <Decided>(
  places: readonly Place[],
  decide: (asking: Asking | undefined) => Promise<Decided>,
  unsettled: () => RemoteAnswer,
) => Promise<Decided>;

/** How many requests it is asked for one decision, and for how long another one: a decision is as of before the first. */
const mostAsked = 10;
const longestMs = 10_000;
/**
 * Decisions that change each other's facts ask one after the other, since all but the first answer would be for facts that are no more. One
 * whose answer takes longer holds nobody up: it is overtaken.
 */
const longestTurnMs = 500;

/** A transaction came to a request that has not been asked yet. */
class Unasked extends Error {
  readonly request: string;

  constructor(request: string) {
    super("the remote decision point has not been asked yet");
    this.request = request;
  }
}

/**
 * It answers over the network, so nobody may wait for a lock or a connection meanwhile; and it has to decide on the very facts that are recorded,
 * which others change. So a transaction that needs an answer ends, the request that it has come to is asked, and the transaction is begun
 * again. An answer counts only for the request that it was given to, byte for byte, and for this one decision.
 */
export function createRemote(
  options: RemoteOptions | undefined,
  limits = { requests: mostAsked, ms: longestMs },
): DecideRemotely {
  const inTurn = createTurns(longestTurnMs);

  return async (places, decide, unsettled) => {
    if (options === undefined) return decide(undefined);
    const answers = new Map<string, RemoteAnswer>();
    let begun: number | undefined;
    const isSpent = (): boolean =>
      answers.size === limits.requests || performance.now() - (begun ?? Infinity) > limits.ms;

    async function answerTo(
      request: PolicyRequest,
      otherwise: (text: string) => Promise<RemoteAnswer>,
    ): Promise<RemoteAnswer> {
      const text = evaluationRequest(request);
      if (text === undefined) return noAnswer("cannot be asked about arguments that are nested so deep");
      return answers.get(text) ?? (isSpent() ? unsettled() : otherwise(text));
    }

    const askNow = async (text: string): Promise<RemoteAnswer> => {
      begun ??= performance.now();
      const answer = await askRemote(options, text);
      answers.set(text, answer);
      return answer;
    };

    return inTurn(places, async () => {
      const asking: Asking = {
        ask: (request) => answerTo(request, askNow),
        told: (request) => answerTo(request, (text) => Promise.reject(new Unasked(text))),
      };
      for (;;) {
        try {
          return await decide(asking);
        } catch (error) {
          if (!(error instanceof Unasked)) throw error;
          await askNow(error.request);
        }
      }
    });
  };
}
