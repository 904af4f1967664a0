import { createTransport } from "nodemailer";

import { isLoopback } from "../core/loopback.ts";
import { NotifyError } from "./errors.ts";
import { cut, oneLine } from "./texts.ts";
import type { NoticeText } from "./texts.ts";

/** The operator's way to send mail. */
export type MailSettings = {
  /** `smtp://` or `smtps://`, with user and password where the server wants them. */
  readonly url: string;
  /** The address that notices come from, with or without a name. */
  readonly from: string;
};

export type Mail = { readonly subject: string; readonly text: string; readonly html: string };

const longestRendered = 100_000;

/** Throws `setting_invalid`. */
export function mailSettings(url: string, from: string): MailSettings {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !/^smtps?:$/.test(parsed.protocol) || parsed.hostname === "") {
    throw new NotifyError(
      "setting_invalid",
      "COUNTERSIGN_SMTP_URL: expected smtp://HOST or smtps://USER:PASSWORD@HOST",
    );
  }
  if (oneLine(from) !== from || !/^(?:[^<>]{0,100}<)?[^\s<>@]+@[^\s<>@]+>?$/.test(from)) {
    throw new NotifyError(
      "setting_invalid",
      "COUNTERSIGN_SMTP_FROM: expected an address such as approvals@example.com",
    );
  }
  return { url, from };
}

/** A notice as mail, in plain text and HTML. */
export function mailOf({ title, lines, rendered, link, toDo }: NoticeText): Mail {
  const shown = rendered === undefined ? undefined : cut(rendered, longestRendered).trimEnd();
  const text = [
    title,
    "",
    ...lines.map(([name, value]) => `${name}: ${value}`),
    ...(shown === undefined ? [] : ["", shown]),
    "",
    `${toDo}: ${link}`,
    "",
    "A reply decides nothing.",
  ].join("\n");
  const rows = lines.map(([name, value]) => `<tr><th align="left">${html(name)}</th><td>${html(value)}</td></tr>`);
  const page = [
    `<p><strong>${html(title)}</strong></p><table>${rows.join("")}</table>`,
    ...(shown === undefined ? [] : [`<pre>${html(shown)}</pre>`]),
    `<p><a href="${html(link)}">${html(toDo)}</a></p><p>A reply decides nothing.</p>`,
  ].join("\n");
  return { subject: oneLine(title).slice(0, 200).toWellFormed(), text, html: page };
}

function html(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;");
}

/**
 * Sends one mail over a connection of its own. `id` names it, the same in every attempt. Throws what nodemailer throws: with
 * `responseCode` 500 and more where the server refuses it for good.
 */
export async function sendMail(
  settings: MailSettings,
  to: string,
  id: string,
  mail: Mail,
  timeoutMs: number,
): Promise<void> {
  const url = new URL(settings.url);
  const secret = url.username !== "";
  const loopback = isLoopback(url.hostname);
  const transport = createTransport({
    url: settings.url,
    // A password goes over TLS, or nowhere past this machine.
    requireTLS: secret && !loopback,
    // Later than ours, which says what was waited for: these free what it leaves behind.
    connectionTimeout: 2 * timeoutMs,
    greetingTimeout: 2 * timeoutMs,
    socketTimeout: 2 * timeoutMs,
    dnsTimeout: 2 * timeoutMs,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(Object.assign(new Error(`no answer in ${timeoutMs / 1_000} s`), { code: "ETIMEDOUT" }));
    }, timeoutMs);
  });
  try {
    const sent = transport.sendMail({
      from: settings.from,
      to,
      ...mail,
      messageId: `<${id}@countersign>`,
      headers: { "auto-submitted": "auto-generated", "x-auto-response-suppress": "All" },
    });
    await Promise.race([sent, late]);
  } finally {
    clearTimeout(timer);
    transport.close();
  }
}
