import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import Anthropic from "@anthropic-ai/sdk";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { z } from "zod";

import { HELLO, LISTED, ROUTES, Stack, UPSTREAM_KEY, USUAL, WEATHER, WEATHER_ARGUMENTS } from "./stack.mjs";

const Recipe = z.object({ name: z.string(), vegetarian: z.boolean(), minutes: z.number() });
const RECIPE = { name: "some name", vegetarian: true, minutes: 1 };

let stack;
const client = (more = {}) =>
  new Anthropic({ baseURL: stack.url, apiKey: stack.key, maxRetries: 0, timeout: 30_000, ...more });
const asked = (model, more = {}) => ({ model, max_tokens: 500, messages: HELLO, ...more });

before(async () => {
  stack = await Stack.start();
});
after(() => stack?.stop());

for (const model of ROUTES) {
  describe(`messages, ${model}`, () => {
    const tool = { name: "weather", input_schema: WEATHER };

    test("plain", async () => {
      const answer = await client().messages.create(asked(model));
      assert.equal(answer.content[0].text, USUAL);
      assert.equal(answer.stop_reason, "end_turn");
      assert.equal(answer.model, model);
      assert.ok(answer._request_id);
    });

    test("stream", async () => {
      const stream = client().messages.stream(asked(model));
      let text = "";
      stream.on("text", (piece) => {
        text += piece;
      });
      const final = await stream.finalMessage();
      assert.equal(text, USUAL);
      assert.equal(final.content[0].text, USUAL);
      assert.equal(final.model, model);
      assert.equal(final.usage.output_tokens, 17);
    });

    test("tool round trip", async () => {
      const first = await client().messages.create(asked(model, { tools: [tool] }));
      const [call] = first.content;
      assert.equal(first.stop_reason, "tool_use");
      assert.deepEqual(call.input, WEATHER_ARGUMENTS);
      const result = { type: "tool_result", tool_use_id: call.id, content: "blue" };
      const turns = [
        ...HELLO,
        { role: "assistant", content: first.content },
        { role: "user", content: [result, { type: "text", text: "And now?" }] },
      ];
      const second = await client().messages.create(asked(`${model}-echo`, { messages: turns, tools: [tool] }));
      assert.equal(second.content[0].text, "And now?");
      assert.match(JSON.stringify((await stack.last()).body), /"blue"/);
    });

    test("parallel tools, streamed", async () => {
      const final = await client().messages.stream(asked(`${model}-parallel`, { tools: [tool] })).finalMessage();
      const calls = final.content.filter((block) => block.type === "tool_use");
      assert.deepEqual(calls.map((call) => call.input), [WEATHER_ARGUMENTS, WEATHER_ARGUMENTS]);
      assert.notEqual(calls[0].id, calls[1].id);
    });

    test("thinking, streamed", async () => {
      const thinking = { type: "enabled", budget_tokens: 2000 };
      const final = await client().messages.stream(asked(model, { thinking, max_tokens: 5000 })).finalMessage();
      assert.deepEqual(final.content.map((block) => block.type), ["thinking", "text"]);
      assert.ok(final.content[0].thinking);
    });

    test("parse", async () => {
      const output_config = { format: zodOutputFormat(Recipe) };
      const answer = await client().messages.parse(asked(model, { output_config }));
      assert.deepEqual(answer.parsed_output, RECIPE);
    });

    test("tokens are counted", async () => {
      const { input_tokens } = await client().messages.countTokens({ model, messages: HELLO });
      assert.ok(input_tokens > 0);
    });

    test("429 with its retry-after", async () => {
      await assert.rejects(client().messages.create(asked(`${model}-429`)), (error) => {
        assert.ok(error instanceof Anthropic.RateLimitError);
        assert.equal(error.headers.get("retry-after"), "1");
        assert.equal(error.error.error.type, "rate_limit_error");
        return true;
      });
    });

    test("500 and 529, tried again", async () => {
      for (const status of [500, 529]) {
        const count = await stack.requestsOf(model, "messages");
        await assert.rejects(client({ maxRetries: 1 }).messages.create(asked(`${model}-${status}`)), (error) => {
          assert.ok(error instanceof Anthropic.InternalServerError);
          assert.equal(error.status, status);
          return true;
        });
        assert.equal(await stack.requestsOf(model, "messages"), count + 2);
      }
    });

    test("a stream that breaks", async () => {
      for (const fault of ["error-mid", "reset", "truncate"]) {
        const stream = client().messages.stream(asked(`${model}-${fault}`));
        let text = "";
        stream.on("text", (piece) => {
          text += piece;
        });
        await assert.rejects(stream.finalMessage(), Anthropic.AnthropicError);
        assert.ok(text && text !== USUAL && USUAL.startsWith(text), text);
      }
    });

    test("leaving a stream closes it at the provider", async () => {
      const count = await stack.closedEarly();
      const long = asked(`${model}-tokens-2000-interval-20`, { max_tokens: 2000, stream: true });
      for await (const event of await client().messages.create(long)) if (event.type === "content_block_delta") break;
      await stack.waitForClose(count);
    });
  });
}

test("models", async () => {
  const ids = [];
  for await (const model of client().models.list()) ids.push(model.id);
  assert.deepEqual(ids, [LISTED]);
  assert.equal((await client().models.retrieve(LISTED)).id, LISTED);
  await assert.rejects(client().models.retrieve("nobody-serves-this"), Anthropic.NotFoundError);
});

test("unknown key, unknown model", async () => {
  const stranger = client({ apiKey: "sk-unknown" });
  await assert.rejects(stranger.messages.create(asked("mock")), Anthropic.AuthenticationError);
  await assert.rejects(client().messages.create(asked("nobody-serves-this")), Anthropic.NotFoundError);
});

test("timeout", async () => {
  const count = await stack.closedEarly();
  const impatient = client({ timeout: 2000 });
  await assert.rejects(impatient.messages.create(asked("mock-stall")), Anthropic.APIConnectionTimeoutError);
  await stack.waitForClose(count);
});

test("twenty at once", async () => {
  const numbers = Array.from({ length: 20 }, (_, number) => `number ${number}`);
  const one = (content, number) => {
    const model = `${ROUTES[number % ROUTES.length]}-echo-delay-50`;
    return client().messages.create(asked(model, { messages: [{ role: "user", content }] }));
  };
  const answers = await Promise.all(numbers.map(one));
  assert.deepEqual(answers.map((answer) => answer.content[0].text), numbers);
});

test("the provider gets its own key", async () => {
  await client().messages.create(asked("mock"));
  const last = await stack.last();
  assert.equal(last.headers["x-api-key"], UPSTREAM_KEY);
  assert.ok(!JSON.stringify(last).includes(stack.key));
});
