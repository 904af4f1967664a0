import { expect, test } from "vitest";

import type { Message } from "../../src/core/transcript.ts";
import { defineScript, parseScript, play, scriptSource, startScriptedModel } from "../../src/providers/index.ts";
import type { ScriptInput } from "../../src/providers/index.ts";

function script(branch: Omit<ScriptInput["branches"][number], "name">) {
  return defineScript({ v: 1, model: "scripted/test", branches: [{ name: "only", ...branch }] });
}

const user = (content: string): Message => ({ role: "user", content });
const said = (content = "", ...calls: (readonly [id: string, name: string])[]): Message => ({
  role: "assistant",
  content,
  toolCalls: calls.map(([id, name]) => ({ id, name, arguments: "{}" })),
});
const result = (callId: string, value: unknown): Message => ({ role: "tool", callId, content: JSON.stringify(value) });

function answer(given: ReturnType<typeof script>, ...messages: readonly Message[]) {
  const next = play(given, messages);
  if (next.kind === "stuck") return `stuck: ${next.message}`;
  return next.calls.length === 0 ? next.content : next.calls.map((call) => `${call.name}(${call.arguments})`).join(" ");
}

test("templates take captures, earlier results and filters, and keep a lone value's type", () => {
  const given = script({
    when: "pay (?<amount>[\\d.]+) for (?<order>\\S+)",
    turns: [
      {
        calls: [
          { tool: "look", arguments: { id: "{{order | upper}}" } },
          { tool: "look", arguments: { id: "x{{order}}" } },
        ],
      },
      {
        calls: [
          {
            tool: "pay",
            arguments: {
              cents: "{{amount | cents}}",
              list: ["{{result.look#1.items}}"],
              last: "{{result.look.paid | usd}}",
            },
          },
        ],
      },
      { json: { text: "{{result.pay}} of {{result.look#2.paid | json}}" } },
    ],
  });
  const start = [
    user("Please pay 12.5 for a-1"),
    said("", ["1", "look"], ["2", "look"]),
    result("1", { items: [1, { a: null }] }),
    result("2", { paid: 990 }),
  ];
  expect(answer(given, user("please PAY 12.5 for a-1"))).toBe('look({"id":"A-1"}) look({"id":"xa-1"})');
  expect(answer(given, ...start)).toBe('pay({"cents":1250,"list":[[1,{"a":null}]],"last":"$9.90"})');
  expect(answer(given, ...start, said("", ["3", "pay"]), { role: "tool", callId: "3", content: "done" })).toBe(
    '{"text":"done of 990"}',
  );
});

test("a template that finds nothing stops the script with the name, not the contents", () => {
  const given = script({
    when: "go",
    turns: [{ calls: [{ tool: "look" }] }, { text: "{{result.look.missing.field}}" }],
  });
  expect(answer(given, user("go secret"), said("", ["1", "look"]), result("1", { there: "secret" }))).toBe(
    "stuck: only: nothing is known as `result.look.missing.field`",
  );
});

test("a result leads to its exit, the latest one wins, and turns are counted from it", () => {
  const given = script({
    when: "go",
    turns: [{ calls: [{ tool: "pay" }] }, { text: "paid" }],
    exits: [
      { result: "pay", status: "denied", matches: "declined", turns: [{ text: "a person said no" }] },
      { result: "pay", status: "denied", turns: [{ calls: [{ tool: "mail" }] }, { text: "written" }] },
      { result: "mail", status: "error", turns: [{ text: "not even written" }] },
    ],
  });
  const asked = [user("go"), said("", ["1", "pay"])];
  const forbidden = [...asked, result("1", { denied: "forbidden", reason: "x" })];
  expect(answer(given, ...asked, result("1", { ok: true }))).toBe("paid");
  expect(answer(given, ...asked, result("1", { denied: "declined", reason: "x" }))).toBe("a person said no");
  expect(answer(given, ...forbidden)).toBe("mail({})");
  expect(answer(given, ...forbidden, said("", ["2", "mail"]), result("2", "sent"))).toBe("written");
  expect(answer(given, ...forbidden, said("", ["2", "mail"]), result("2", { error: "no" }))).toBe("not even written");
});

test("turns end, repeat, or go on after a request for repair; unknown input gets the list of what is known", () => {
  const given = script({ when: "^go", example: "go now", turns: [{ text: "not json" }, { json: { ok: true } }] });
  const repair = user("the answer does not fit: repair it");
  expect(answer(given, user("go"), said("not json"), repair)).toBe('{"ok":true}');
  expect(answer(given, user("go"), said("not json"), user("go"))).toBe("not json");
  expect(answer(given, user("go"), said("a"), said("b"))).toBe("stuck: branch `only` has no more turns");
  expect(answer(given, user("hello"))).toBe("I am a scripted model, and know these inputs:\n- go now");
  expect(answer(given, user("go"), said("a"), said("b"), user("hello"))).toContain("go now");
  const endless = script({ when: "", turns: [{ calls: [{ tool: "again" }], repeat: true }] });
  expect(answer(endless, user("x"), ...Array.from({ length: 50 }, () => said("…")))).toBe("again({})");
});

test("call ids are the same for the same conversation, and different along it", () => {
  const given = script({ when: "", turns: [{ calls: [{ tool: "a" }, { tool: "a" }], repeat: true }] });
  const idsOf = (...messages: readonly Message[]) => {
    const next = play(given, messages);
    return next.kind === "answer" ? next.calls.map((call) => call.id) : [];
  };
  const first = idsOf(user("x"));
  expect(idsOf(user("x"))).toEqual(first);
  expect(new Set([...first, ...idsOf(user("x"), said("1"))]).size).toBe(4);
});

test.each([
  ["a: [", "s.yaml:1:"],
  [
    "v: 1\nmodel: gpt-4o\nbranches:\n  - name: a\n    when: '('\n    turns: []\n",
    "s.yaml:5:11: branches.0.when: not a regular expression",
  ],
  [
    "v: 1\nmodel: scripted/a\nbranches:\n  - name: a\n    when: x\n    turns:\n      - text: '{{nobody}}'\n",
    "s.yaml:7:9: branches.0.turns.0: `nobody` is neither",
  ],
  [
    "v: 1\nmodel: scripted/a\nbranches:\n  - name: a\n    when: x\n    turns:\n      - text: '{{result.a | dollars}}'\n",
    "there is no filter `dollars`",
  ],
  [
    "v: 1\nmodel: scripted/a\nbranches:\n  - name: a\n    when: x\n    turns:\n      - text: b\n        tools: []\n",
    "s.yaml:8:9: branches.0.turns.0.tools: is not a field here",
  ],
  [
    "v: 1\nmodel: scripted/a\nbranches:\n  - name: a\n    when: x\n    turns:\n      - delayMs: 5\n",
    "needs text, json or calls",
  ],
])("a wrong script %# is refused with the place", (text, message) => {
  expect(() => parseScript(text, "s.yaml")).toThrow(message);
});

test("the server lists its models, and answers errors as OpenAI does", async () => {
  const given = script({ when: "", turns: [{ text: "hello" }] });
  const model = await startScriptedModel({ scripts: [scriptSource([given])] });
  try {
    const models = (await (await fetch(`${model.url}/models`)).json()) as { data: { id: string }[] };
    expect(models.data.map((entry) => entry.id)).toEqual(["scripted/test"]);
    const post = (body: string) => fetch(`${model.url}/chat/completions`, { method: "POST", body });
    const bodies = ["{", '{"model":"scripted/test"}', '{"model":"other","messages":[{"role":"user","content":"x"}]}'];
    const statuses = await Promise.all(
      bodies.map(async (body) => {
        const response = await post(body);
        const { error } = (await response.json()) as { error: { type: string; code: string | null } };
        return [response.status, error.type, error.code];
      }),
    );
    expect(statuses).toEqual([
      [400, "invalid_request_error", null],
      [400, "invalid_request_error", null],
      [404, "invalid_request_error", "model_not_found"],
    ]);
    expect((await fetch(`${model.url}/embeddings`, { method: "POST" })).status).toBe(404);
    const same = JSON.stringify({
      model: "scripted/test",
      messages: [{ role: "user", content: [{ type: "text", text: "x" }] }],
    });
    expect(await (await post(same)).text()).toBe(await (await post(same)).text());
    await expect(startScriptedModel({ scripts: [], port: model.port })).rejects.toMatchObject({ code: "port_taken" });
  } finally {
    await model.close();
  }
});
