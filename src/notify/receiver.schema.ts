import { z } from "zod";

/** One address, in the plain form: nothing that a mail header could be made of. */
const mailAddress = z.email().max(254);
const webhookSecret = z.string().regex(/^whsec_[A-Za-z0-9+/]{32,}={0,2}$/);

/** What is needed to reach a receiver. Sealed: it is read where it is used, and nowhere shown. */
export const receiverSettings = z.union([
  z.strictObject({ kind: z.literal("webhook"), url: z.url().max(2_000), secret: webhookSecret }),
  z.strictObject({ kind: z.literal("email"), to: mailAddress }),
  z.strictObject({ kind: z.literal("slack"), url: z.url().max(2_000) }),
  z.strictObject({
    kind: z.literal("slack"),
    token: z.string().regex(/^xox[a-z]-[A-Za-z0-9-]{10,200}$/),
    conversation: z.string().regex(/^[A-Z0-9]{3,30}$/),
  }),
]);
export type ReceiverSettings = z.output<typeof receiverSettings>;
