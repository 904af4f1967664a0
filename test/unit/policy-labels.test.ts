import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { expect, it } from "vitest";

import { noFacts } from "../../src/core/decision.ts";
import type { RunFacts } from "../../src/core/decision.ts";
import type { CallLabels } from "../../src/core/labels.ts";
import { parseCases } from "../../src/policy/case-file.ts";
import { runCases } from "../../src/policy/cases.ts";
import { checkPolicySet, compilePolicies, explain, policySetOf, requestJson } from "../../src/policy/index.ts";

const readme = await readFile(join(import.meta.dirname, "../../policies/README.md"), "utf8");
const [quoted = ""] = /^@id\("egress\/quoted"\)[^]*?;$/m.exec(readme) ?? [];
const policies = `
@id("all") permit (principal, action, resource);
${quoted}
@id("worst") forbid (principal, action == Action::"tool/list_mail", resource)
when { context.content.worstOrigin == "untrusted" && context.run.sameNameApproved < 2 };
@id("body") @decision("require_approval") @group("reviewers")
forbid (principal, action == Action::"tool/send_mail", resource)
when { context.labels has body && context.labels.body.confidentiality >= 2 };
@id("sent") forbid (principal, action == Action::"tool/send_mail", resource)
when { context.destination.sources.contains("mail") || context.destination.confidentiality >= 3 };
@id("content") forbid (principal, action in Action::"tool", resource) when { context.content.sources.contains("vault") };
@id("answer") forbid (principal, action == Action::"response", resource) when { context.content.confidentiality >= 2 };
`;
const { document } = policySetOf([{ name: "labels.cedar", text: policies }]);
const table = `
v: 1
tools:
  - name: send_mail
    effect: egress
    parameters: { type: object, properties: { to: { type: string }, body: { type: string } } }
  - { name: list_mail, effect: read, parameters: { type: object, properties: {} } }
cases:
  - name: what is public goes out although the run has read more
    tool: send_mail
    arguments: { to: ada, body: hello }
    facts:
      seen: { confidentiality: restricted, sources: [mail, vault] }
      labels: { arguments: { to: {}, body: { sources: [news] } }, destination: {}, content: { sources: [news] } }
    expect: { outcome: allow }
  - name: what quotes something confidential waits for people
    tool: send_mail
    arguments: { to: ada, body: hello }
    facts: { labels: { arguments: { to: {}, body: { confidentiality: confidential } } } }
    expect: { outcome: require_approval, policies: [body] }
  - name: an argument that is not given has no labels
    tool: send_mail
    arguments: { to: ada }
    facts: { labels: { arguments: { to: { confidentiality: confidential } } } }
    expect: { outcome: allow }
  - name: a destination has labels of its own
    tool: send_mail
    arguments: { to: ada }
    facts: { labels: { destination: { sources: [mail] } } }
    expect: { outcome: deny, policies: [sent] }
  - name: all contents together have
    tool: send_mail
    arguments: { to: ada }
    facts: { labels: { content: { sources: [vault] } } }
    expect: { outcome: deny, policies: [content] }
  - name: and what they quote waits for people
    tool: send_mail
    arguments: { to: ada }
    facts: { labels: { content: { confidentiality: confidential } } }
    expect: { outcome: require_approval, policies: [egress/quoted] }
  - name: where none are recorded nothing is better than all that was seen
    tool: send_mail
    arguments: { to: ada, body: hello }
    facts: { origins: { to: user, body: derived }, seen: { confidentiality: confidential, sources: [crm] } }
    expect: { outcome: require_approval, policies: [body, egress/quoted] }
  - name: a destination without is not better either
    tool: send_mail
    arguments: { to: ada }
    facts: { seen: { confidentiality: restricted } }
    expect: { outcome: deny, policies: [sent] }
  - name: the worst origin of all values
    tool: list_mail
    facts: { bestOrigin: user, worstOrigin: untrusted, sameNameApproved: 1 }
    expect: { outcome: deny, policies: [worst] }
  - name: and how often people approved the same tool before
    tool: list_mail
    facts: { worstOrigin: untrusted, sameNameApproved: 2 }
    expect: { outcome: allow }
  - name: a case that names no origin has none
    tool: list_mail
    expect: { outcome: allow }
  - name: an answer is made of what was read
    model: some
    response: {}
    facts: { seen: { confidentiality: confidential } }
    expect: { outcome: deny, policies: [answer] }
`;
const { tools, cases } = parseCases(table);

it("policies decide by the labels of an argument, of the destination and of all contents", () => {
  expect(
    runCases(document, tools, cases).results.flatMap(({ name, differences }) =>
      differences.map((one) => `${name}: ${one}`),
    ),
  ).toEqual([]);
  expect(checkPolicySet(document, tools)).toEqual([]);
});

it("a question from before there were labels has the digest that it had", () => {
  const compiled = compilePolicies(document, tools);
  const labels: CallLabels = { arguments: {}, destination: noLabels, content: noLabels };
  const asked = (facts: RunFacts) => {
    const [one] = cases;
    const { request } = explain(compiled, { ...one!.request, facts });
    return JSON.stringify(requestJson(request!, facts));
  };
  const then = asked(noFacts);
  expect(then).not.toContain('confidentiality":0,"sources":[]}');
  expect(then).not.toContain("labels");
  const labelled = asked({ ...noFacts, flow: { ...noFacts.flow, labels } });
  expect(JSON.parse(labelled)).toMatchObject({ context: { labels: {}, destination: noLabels, content: noLabels } });
  expect(then + labelled).not.toMatch(/worstOrigin|sameNameApproved/);
  const now = asked({ ...noFacts, sameNameApproved: 1, flow: { ...noFacts.flow, labels, worst: "user" } });
  expect(JSON.parse(now)).toMatchObject({
    context: { content: { worstOrigin: "user" }, run: { sameNameApproved: 1 } },
  });
});

const noLabels = { confidentiality: 0, sources: [] };
