import type { Json } from "../core/json.ts";
import type { NoticeText } from "./texts.ts";

/** Slack refuses a message with more than 3,000 characters in a text, or 150 in a header, as they are sent: escaped. */
const longestText = 2_900;
const longestTitle = 140;
const more = "… (cut: the link has all of it)";

/**
 * A notice as Slack's blocks. There is a link and no button that acts: nothing can be decided from the conversation. All that others
 * wrote goes into elements that Slack reads as plain text; only the link is markup, and it is ours.
 */
export function slackMessage({ title, lines, rendered, link, toDo }: NoticeText): { readonly [name: string]: Json } {
  const fields = lines.map(([name, value]) => `${name}: ${value}`).join("\n");
  return {
    // What notifications show: the one place where mentions of people and channels would be obeyed, were they not escaped.
    text: fitting(title, longestTitle, escapeSlack),
    mrkdwn: false,
    link_names: false,
    parse: "none",
    unfurl_links: false,
    unfurl_media: false,
    blocks: [
      { type: "header", text: plain(title, longestTitle) },
      { type: "section", text: plain(fields, longestText) },
      ...(rendered === undefined ? [] : [preformatted(rendered)]),
      {
        type: "section",
        text: { type: "mrkdwn", verbatim: true, text: `<${escapeSlack(link)}|${escapeSlack(toDo)}>` },
      },
    ],
  };
}

function plain(text: string, longest: number): Json {
  return { type: "plain_text", emoji: false, text: fitting(text, longest, escapeSlack) };
}

function preformatted(text: string): Json {
  return {
    type: "rich_text",
    elements: [
      { type: "rich_text_preformatted", elements: [{ type: "text", text: fitting(text, longestText, (one) => one) }] },
    ],
  };
}

/** The text, written character by character, and cut before it is longer than `longest`. */
function fitting(text: string, longest: number, write: (character: string) => string): string {
  const whole = write(text.toWellFormed());
  if (whole.length <= longest) return whole;
  let written = "";
  for (const character of text.toWellFormed()) {
    const next = write(character);
    if (written.length + next.length > longest - more.length) break;
    written += next;
  }
  return `${written}${more}`;
}

/** docs.slack.dev, "Formatting message text": these three make up every mention, link and entity. */
export function escapeSlack(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
