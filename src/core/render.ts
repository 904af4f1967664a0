export const renderHints = [
  "money",
  "recipient",
  "subject",
  "text",
  "sql",
  "diff",
  "before",
  "after",
  "plain",
] as const;
/**
 * How an argument is to be read by the people who decide on a call. `money`: an integer in the currency's smallest unit, with the currency
 * in the argument `currency`. `recipient`, `subject`, `text`: with a recipient and a text, the call is shown as an e-mail. `sql`, `diff`:
 * shown line by line. `before` and `after`: a change, shown as the lines that go and those that come. `plain`: as any other value.
 */
export type RenderHint = (typeof renderHints)[number];
