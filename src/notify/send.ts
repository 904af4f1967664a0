import { Webhook } from "standardwebhooks";

import { codeOf } from "../core/errors.ts";
import type { AddressGuard } from "./addresses.ts";
import type { NoticeFacts } from "./facts.ts";
import { mailOf, sendMail } from "./mail.ts";
import type { MailSettings } from "./mail.ts";
import { post } from "./post.ts";
import type { Posted } from "./post.ts";
import type { ReceiverSettings } from "./receiver.schema.ts";
import { slackMessage } from "./slack.ts";
import { oneLine, textOf } from "./texts.ts";
import type { NoticeText } from "./texts.ts";

/** How an attempt ended. Reasons are one line, without secrets or contents. */
export type Outcome =
  | { readonly status: "delivered" }
  | { readonly status: "retry"; readonly reason: string; readonly retryAfterMs?: number }
  /** Trying again would be no use. */
  | { readonly status: "failed"; readonly reason: string }
  /** What it says is true no longer. */
  | { readonly status: "withdrawn"; readonly reason: string }
  /** The receiver wants nothing any more. */
  | { readonly status: "gone"; readonly reason: string };

export type SendOptions = {
  readonly guard: AddressGuard;
  /** Undefined: this server sends no mail. */
  readonly mail: MailSettings | undefined;
  readonly slackApi: URL;
  /** For a whole attempt. */
  readonly timeoutMs: number;
};

export type Message = {
  /** The notice's. */
  readonly id: string;
  /** When what it tells of happened. */
  readonly at: Date;
  /** Undefined: a test. */
  readonly facts: NoticeFacts | undefined;
  /** Where the request can be read. */
  readonly link: string;
};

/** Makes one attempt. Never throws. */
export async function send(
  options: SendOptions,
  settings: ReceiverSettings,
  message: Message,
  now: Date,
): Promise<Outcome> {
  try {
    switch (settings.kind) {
      case "webhook":
        return await sendWebhook(options, settings, message, now);
      case "email":
        return await sendEmail(options, settings.to, message);
      case "slack":
        return await sendSlack(options, settings, message, now);
    }
  } catch (error) {
    return failureOf(error);
  }
}

/** The body of a webhook: Standard Webhooks' `type`, `timestamp` and `data`. docs/delivery.md lists the members. */
export function webhookBody({ at, facts, link }: Message): string {
  const timestamp = at.toISOString();
  if (facts === undefined) return JSON.stringify({ type: "test", timestamp, data: { link } });
  const { summary, event, ...rest } = facts;
  return JSON.stringify({ type: `approval.${event}`, timestamp, data: { ...rest, ...summary, link } });
}

async function sendWebhook(
  options: SendOptions,
  settings: Extract<ReceiverSettings, { kind: "webhook" }>,
  message: Message,
  now: Date,
): Promise<Outcome> {
  const body = webhookBody(message);
  const headers = {
    "webhook-id": message.id,
    "webhook-timestamp": String(Math.floor(now.getTime() / 1_000)),
    "webhook-signature": new Webhook(settings.secret).sign(message.id, now, body),
    "user-agent": "countersign",
  };
  const answer = await post(new URL(settings.url), body, headers, { ...options, now });
  if (answer.status === 410) return { status: "gone", reason: "the receiver answered 410: it wants no more" };
  return outcomeOf(answer);
}

async function sendSlack(
  options: SendOptions,
  settings: Extract<ReceiverSettings, { kind: "slack" }>,
  message: Message,
  now: Date,
): Promise<Outcome> {
  const contents = slackMessage(wordsOf(message));
  if ("url" in settings) {
    const answer = await post(new URL(settings.url), JSON.stringify(contents), {}, { ...options, now });
    // Slack's words for a webhook that was taken away.
    if (answer.status === 410 || (answer.status === 404 && /no_service|no_team|channel_not_found/.test(answer.body)))
      return { status: "gone", reason: `Slack answered ${answer.status}: the webhook is gone` };
    return outcomeOf(answer);
  }
  const url = new URL("chat.postMessage", options.slackApi);
  const body = JSON.stringify({ channel: settings.conversation, ...contents });
  const headers = { "content-type": "application/json; charset=utf-8", authorization: `Bearer ${settings.token}` };
  const answer = await post(url, body, headers, { ...options, now });
  return answer.status === 200 ? slackSays(answer.body) : outcomeOf(answer);
}

/** Errors that a new attempt does not mend: docs.slack.dev, chat.postMessage. */
const slackGone = new Set(["account_inactive", "token_revoked", "channel_not_found", "is_archived", "team_not_found"]);

function slackSays(body: string): Outcome {
  let answer: { ok?: unknown; error?: unknown };
  try {
    answer = JSON.parse(body) as typeof answer;
  } catch {
    return { status: "retry", reason: "Slack's answer is not JSON" };
  }
  if (answer.ok === true) return { status: "delivered" };
  const error = typeof answer.error === "string" && /^[a-z_]{1,60}$/.test(answer.error) ? answer.error : "unknown";
  return { status: slackGone.has(error) ? "gone" : "retry", reason: `Slack refused it: ${error}` };
}

async function sendEmail({ mail, timeoutMs }: SendOptions, to: string, message: Message): Promise<Outcome> {
  if (mail === undefined) {
    return { status: "retry", reason: "this server sends no mail: COUNTERSIGN_SMTP_URL is not set" };
  }
  await sendMail(mail, to, message.id, mailOf(wordsOf(message)), timeoutMs);
  return { status: "delivered" };
}

function wordsOf({ facts, link }: Message): NoticeText {
  if (facts !== undefined) return textOf(facts, link);
  return {
    title: "Countersign can reach you here",
    lines: [["this", "is a test"]],
    rendered: undefined,
    link,
    toDo: "Read what waits",
  };
}

function outcomeOf({ status, retryAfter }: Posted): Outcome {
  if (status >= 200 && status < 300) return { status: "delivered" };
  const what = status >= 300 && status < 400 ? `${status}, and redirects are not followed` : String(status);
  return {
    status: "retry",
    reason: `the receiver answered ${what}`,
    ...(retryAfter === undefined ? {} : { retryAfterMs: retryAfter * 1_000 }),
  };
}

function failureOf(error: unknown): Outcome {
  const code = codeOf(error);
  const responseCode = error instanceof Error && "responseCode" in error ? Number(error.responseCode) : undefined;
  if (responseCode !== undefined) {
    // What a mail server says may hold anything; its code says enough.
    const reason = `the mail server answered ${responseCode}`;
    // There is no such mailbox. A wrong password, or a sender that may not send, is for the operator to mend.
    const isFinal = responseCode >= 500 && error instanceof Error && "command" in error && error.command === "RCPT TO";
    return isFinal ? { status: "failed", reason } : { status: "retry", reason };
  }
  const said = error instanceof Error ? error.message : String(error);
  // The operator may allow the address, or mend the name, within the hours.
  const known = code === "address_refused" || code === "ETIMEDOUT" ? said : (code ?? "the connection failed");
  return { status: "retry", reason: oneLine(known).slice(0, 200) };
}
