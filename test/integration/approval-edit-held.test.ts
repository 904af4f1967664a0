import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  delegate,
  editKind,
  editOf,
  editRequest,
  heldEdit,
  requestById,
  signText,
  statementFacts,
  textOfSigned,
} from "../../src/approvals/index.ts";
import type { EditStatement } from "../../src/approvals/index.ts";
import { digestOf } from "../../src/store/index.ts";
import { createInbox } from "../support/inbox.ts";
import type { Inbox } from "../support/inbox.ts";

/** `dan` stands in for `rosa`, and is in no group; `rick.admin` is `rick`'s second account; `olga` asks for the runs, `annie` made the release. */
const accounts: Readonly<Record<string, { readonly groups: readonly string[]; readonly person?: string }>> = {
  rita: { groups: ["treasury", "others"] },
  lena: { groups: ["treasury", "legal"] },
  rick: { groups: ["treasury"] },
  "rick.admin": { groups: ["treasury"], person: "rick" },
  rosa: { groups: ["treasury"] },
  dan: { groups: [] },
  mia: { groups: ["managers"] },
};
const subject = "cus_ada";
const requirements = ["treasury", "legal"].map((group) => ({
  policy: "p",
  group,
  quorum: 1,
  expiresMs: 100,
  escalate: { afterMs: 40, to: ["managers"] },
}));

let inbox: Inbox;

beforeAll(async () => {
  inbox = await createInbox();
  for (const [id, { groups, person }] of Object.entries(accounts)) await inbox.enrol(id, groups, person);
});
afterAll(() => inbox.database.close());

const is = (id: string, what: string): string => `update principal set ${what} where id = '${id}'`;
const past = (table: string, change: string): readonly string[] => [
  `alter table ${table} disable trigger user`,
  `update ${table} set ${change}`,
];
const stays = (groups: string): string => `groups = '{${groups}}'`;

type Row = [what: string, by: string, changes: readonly string[], holds: boolean, afterMs?: number];
const table: Row[] = [
  ["nothing has changed", "rita", [], true],
  ["the editor left the group", "rita", [is("rita", stays("others"))], false],
  ["the editor left all groups", "rita", [is("rita", stays(""))], false],
  ["the editor is in another group that was asked, but was not then", "rita", [is("rita", stays("legal"))], false],
  ["the editor left one of two groups that were asked", "lena", [is("lena", stays("legal"))], true],
  ["the editor is in a group that was asked later only", "rita", [is("rita", stays("managers"))], false],
  ["the editor is no reviewer any more", "rita", [is("rita", "roles = '{auditor}'")], false],
  ["the editor is an admin now", "rita", [is("rita", "roles = '{admin}'")], true],
  [
    "the editor's key is revoked",
    "rita",
    ["update reviewer_key set revoked_at = now() where principal = 'rita'"],
    false,
  ],
  ["who was asked after a while changed it then", "mia", [], true, 45],
  ["and left that group", "mia", [is("mia", stays(""))], false, 45],
  ["the editor is who asked for the run", "rita", [is("rita", "person = 'olga'")], false],
  ["the editor is who made the release", "rita", [is("rita", "person = 'annie'")], false],
  ["the editor is for whom the run acts", "rita", [is("rita", `person = '${subject}'`)], false],
  ["by a second account: nothing has changed", "rick.admin", [], true],
  [
    "by a second account, whose other one asked for the run",
    "rick.admin",
    [is("rick.admin", "person = 'olga'")],
    false,
  ],
  ["by a second account that left the group, the first has not", "rick.admin", [is("rick.admin", stays(""))], false],
  ["by a second account, the first one left the group", "rick.admin", [is("rick", stays(""))], true],
  ["by a second account, the person left out", "rick.admin", past("approval_edit", "persons = '{somebody}'"), false],
  ["by a second account, in another's name", "rick.admin", past("approval_edit", "person = 'mia'"), false],
  ["for somebody: nothing has changed", "dan", [], true],
  ["for somebody who left the group", "dan", [is("rosa", stays(""))], false],
  ["for somebody who is no reviewer any more", "dan", [is("rosa", "roles = '{auditor}'")], false],
  ["for somebody, the delegate is no reviewer any more", "dan", [is("dan", "roles = '{auditor}'")], false],
  ["for somebody who asked for the run", "dan", [is("rosa", "person = 'olga'")], false],
  [
    "for somebody who left, the delegate is in the group now",
    "dan",
    [is("rosa", stays("")), is("dan", stays("treasury"))],
    false,
  ],
  [
    "for somebody, by what ended afterwards",
    "dan",
    past("approval_delegation", "revoked_by = 'rosa', revoked_at = at + interval '4 ms'"),
    true,
  ],
  [
    "for somebody, by what had ended",
    "dan",
    past("approval_delegation", "revoked_by = 'rosa', revoked_at = at + interval '2 ms'"),
    false,
  ],
  ["for somebody, by what was for another tool", "dan", past("approval_delegation", "tool = 'look'"), false],
  ["for somebody, by what was for small amounts", "dan", past("approval_delegation", "max_amount = 1"), false],
  ["for somebody, by what was given to another", "dan", past("approval_delegation", "delegate = 'mia'"), false],
  ["for somebody who is left out", "dan", past("approval_edit", "persons = '{dan}'"), false],
  [
    "for somebody, said to be in her own name",
    "dan",
    past("approval_edit", "delegation = null, for_person = null"),
    false,
  ],
  [
    "in her own name, who left, said to be for another",
    "rita",
    [is("rita", stays("others")), ...past("approval_edit", "groups = '{others}'")],
    false,
  ],
];

test.each<Row>(table)(
  "when the call is made, a change holds or not: %s",
  async (_, by, changes, holds, afterMs = 3) => {
    const client = await inbox.pool.connect();
    const tx = client as never;
    try {
      await client.query("begin");
      const span = { from: inbox.opened, until: inbox.at(80) };
      const given = { delegator: "rosa", delegate: "dan", team: null, tool: null, maxAmount: null, reason: "" };
      await delegate(tx, { ...given, ...span }, "rosa", inbox.opened);
      const request = await inbox.openIn(tx, { requirements, expiresMs: 100 });
      const edited = { arguments: request.rendered, action: digestOf({ another: request.id }) };
      const statement = textOfSigned({
        ...statementFacts(request),
        type: editKind.type,
        arguments: edited.arguments,
        edited: edited.action,
        reviewer: by,
        reason: "",
        nonce: randomBytes(18).toString("base64url"),
        issuedAt: inbox.at(1).toISOString(),
      } as EditStatement);
      const { privateKey, keyId } = inbox.signerOf(by);
      const signed = { statement, signature: signText(editKind.type, statement, privateKey), keyId };
      await editRequest(tx, signed, edited, by, inbox.at(afterMs), [subject]);
      for (const change of changes) await client.query(change);
      const [after, edit] = [await requestById(tx, request.id), await editOf(tx, request.id)];
      if (after === undefined || edit === undefined) throw new Error("there is no such edit");
      expect((await heldEdit(tx, after, edit, [subject]))?.reviewer).toBe(holds ? by : undefined);
    } finally {
      await client.query("rollback");
      client.release();
    }
  },
);
