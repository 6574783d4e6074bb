import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

import { HELLO, LISTED, ROUTES, Stack, UPSTREAM_KEY, USUAL, WEATHER, WEATHER_ARGUMENTS } from "./stack.mjs";

const Recipe = z.object({ name: z.string(), vegetarian: z.boolean(), minutes: z.number() });
const RECIPE = { name: "some name", vegetarian: true, minutes: 1 };

let stack;
const client = (more = {}) =>
  new OpenAI({ baseURL: `${stack.url}/v1`, apiKey: stack.key, maxRetries: 0, timeout: 30_000, ...more });

const ask = (model, more) => client(more).chat.completions.create({ model, messages: HELLO });

before(async () => {
  stack = await Stack.start();
});
after(() => stack?.stop());

for (const model of ROUTES) {
  describe(`chat completions, ${model}`, () => {
    const tool = { type: "function", function: { name: "weather", parameters: WEATHER } };

    test("plain", async () => {
      const answer = await client().chat.completions.create({ model, messages: HELLO });
      assert.equal(answer.choices[0].message.content, USUAL);
      assert.equal(answer.choices[0].finish_reason, "stop");
      assert.equal(answer.model, model);
      assert.ok(answer.usage.total_tokens > 0 && answer._request_id);
    });

    test("stream", async () => {
      const options = { stream: true, stream_options: { include_usage: true } };
      const stream = await client().chat.completions.create({ model, messages: HELLO, ...options });
      let text = "";
      let usage;
      for await (const chunk of stream) {
        assert.equal(chunk.model, model);
        text += chunk.choices[0]?.delta.content ?? "";
        usage ??= chunk.usage;
      }
      assert.equal(text, USUAL);
      assert.equal(usage.completion_tokens, 17);
    });

    test("tool round trip", async () => {
      const first = await client().chat.completions.create({ model, messages: HELLO, tools: [tool] });
      const { message, finish_reason } = first.choices[0];
      const [call] = message.tool_calls;
      assert.equal(finish_reason, "tool_calls");
      assert.equal(call.function.name, "weather");
      assert.deepEqual(JSON.parse(call.function.arguments), WEATHER_ARGUMENTS);
      const result = { role: "tool", tool_call_id: call.id, content: "blue" };
      const second = await client().chat.completions.create({
        model: `${model}-echo`,
        messages: [...HELLO, message, result],
        tools: [tool],
      });
      assert.equal(second.choices[0].message.content, "Hello");
      assert.match(JSON.stringify((await stack.last()).body), /"blue"/);
    });

    test("parallel tools, streamed", async () => {
      const stream = client().chat.completions.stream({ model: `${model}-parallel`, messages: HELLO, tools: [tool] });
      const calls = (await stream.finalChatCompletion()).choices[0].message.tool_calls;
      assert.deepEqual(calls.map((call) => JSON.parse(call.function.arguments)), [WEATHER_ARGUMENTS, WEATHER_ARGUMENTS]);
      assert.notEqual(calls[0].id, calls[1].id);
    });

    test("parse", async () => {
      const asked = { model, messages: HELLO, response_format: zodResponseFormat(Recipe, "recipe") };
      const answer = await client().chat.completions.parse(asked);
      assert.deepEqual(answer.choices[0].message.parsed, RECIPE);
      const streamed = await client().chat.completions.stream(asked).finalChatCompletion();
      assert.deepEqual(streamed.choices[0].message.parsed, RECIPE);
    });

    test("429 with its retry-after", async () => {
      await assert.rejects(ask(`${model}-429`), (error) => {
        assert.ok(error instanceof OpenAI.RateLimitError);
        assert.equal(error.headers.get("retry-after"), "1");
        assert.equal(error.code, "rate_limit_exceeded");
        return true;
      });
    });

    test("500 and 503, tried again", async () => {
      for (const status of [500, 503]) {
        const count = await stack.requestsOf(model, "chat");
        await assert.rejects(ask(`${model}-${status}`, { maxRetries: 1 }), (error) => {
          assert.ok(error instanceof OpenAI.InternalServerError);
          assert.equal(error.status, status);
          return true;
        });
        assert.equal(await stack.requestsOf(model, "chat"), count + 2);
      }
    });

    test("a stream that breaks", async () => {
      for (const fault of ["error-mid", "reset", "truncate"]) {
        const asked = { model: `${model}-${fault}`, messages: HELLO, stream: true };
        const stream = await client().chat.completions.create(asked);
        let text = "";
        const read = async () => {
          for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
        };
        await assert.rejects(read(), OpenAI.APIError);
        assert.ok(text && text !== USUAL && USUAL.startsWith(text), text);
      }
    });

    test("leaving a stream closes it at the provider", async () => {
      const count = await stack.closedEarly();
      const asked = { model: `${model}-tokens-2000-interval-20`, messages: HELLO, stream: true };
      const stream = await client().chat.completions.create(asked);
      for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
      await stack.waitForClose(count);
    });
  });
}

for (const model of ROUTES) {
  describe(`responses, ${model}`, () => {
    const tool = { type: "function", name: "weather", parameters: WEATHER, strict: true };

    test("plain", async () => {
      const answer = await client().responses.create({ model, input: "Hello", store: false });
      assert.equal(answer.output_text, USUAL);
      assert.equal(answer.model, model);
    });

    test("stream", async () => {
      const stream = client().responses.stream({ model, input: "Hello" });
      const types = [];
      for await (const event of stream) types.push(event.type);
      assert.equal(types[0], "response.created");
      assert.equal(types.at(-1), "response.completed");
      const final = await stream.finalResponse();
      assert.equal(final.output_text, USUAL);
      assert.equal(final.model, model);
    });

    test("tool round trip", async () => {
      const input = [{ role: "user", content: "Hello" }];
      const first = await client().responses.create({ model, input, tools: [tool] });
      const [call] = first.output;
      assert.deepEqual(JSON.parse(call.arguments), WEATHER_ARGUMENTS);
      const result = { type: "function_call_output", call_id: call.call_id, output: "blue" };
      const second = await client().responses.create({
        model: `${model}-echo`,
        input: [...input, ...first.output, result],
        tools: [tool],
      });
      assert.equal(second.output_text, "Hello");
    });

    test("parse", async () => {
      const asked = { model, input: "Hello", text: { format: zodTextFormat(Recipe, "recipe") } };
      assert.deepEqual((await client().responses.parse(asked)).output_parsed, RECIPE);
    });

    test("a stream that breaks", async () => {
      for (const fault of ["error-mid", "reset", "truncate"]) {
        let text = "";
        const read = async () => {
          const asked = { model: `${model}-${fault}`, input: "Hello", stream: true };
          for await (const event of await client().responses.create(asked)) {
            if (event.type === "response.output_text.delta") text += event.delta;
            // The SDK throws for an event `error`; this one it hands on to the program.
            if (event.type === "response.failed") throw new OpenAI.APIError(500, event.response.error, "failed", undefined);
          }
        };
        await assert.rejects(read(), OpenAI.APIError);
        assert.ok(text && text !== USUAL && USUAL.startsWith(text), text);
      }
    });

    test("an aborted request is closed at the provider", async () => {
      const count = await stack.closedEarly();
      const sent = await stack.requestsOf(model, "responses");
      const control = new AbortController();
      const asked = { model: `${model}-stall`, input: "Hello" };
      const asking = client().responses.create(asked, { signal: control.signal });
      const failed = assert.rejects(asking, OpenAI.APIUserAbortError);
      while ((await stack.requestsOf(model, "responses")) === sent) await sleep(20);
      control.abort();
      await failed;
      await stack.waitForClose(count);
    });
  });
}

test("embeddings", async () => {
  const answer = await client().embeddings.create({ model: "mock", input: ["one", "two"], dimensions: 8 });
  assert.deepEqual(answer.data.map((row) => row.embedding.length), [8, 8]);
  assert.equal((await stack.last()).body.encoding_format, "base64");
});

test("completions of old", async () => {
  assert.equal((await client().completions.create({ model: "mock", prompt: "Hello" })).choices[0].text, USUAL);
  let text = "";
  for await (const chunk of await client().completions.create({ model: "mock", prompt: "Hello", stream: true })) {
    text += chunk.choices[0]?.text ?? "";
  }
  assert.equal(text, USUAL);
});

test("models", async () => {
  const ids = [];
  for await (const model of client().models.list()) ids.push(model.id);
  assert.deepEqual(ids, [LISTED]);
  assert.equal((await client().models.retrieve(LISTED)).id, LISTED);
  await assert.rejects(client().models.retrieve("nobody-serves-this"), OpenAI.NotFoundError);
});

test("unknown key, unknown model", async () => {
  await assert.rejects(ask("mock", { apiKey: "sk-unknown" }), OpenAI.AuthenticationError);
  await assert.rejects(ask("nobody-serves-this"), OpenAI.NotFoundError);
});

test("timeout", async () => {
  const count = await stack.closedEarly();
  await assert.rejects(ask("mock-stall", { timeout: 2000 }), OpenAI.APIConnectionTimeoutError);
  await stack.waitForClose(count);
});

test("twenty at once", async () => {
  const numbers = Array.from({ length: 20 }, (_, number) => `number ${number}`);
  const one = (content, number) => {
    const model = `${ROUTES[number % ROUTES.length]}-echo-delay-50`;
    return client().chat.completions.create({ model, messages: [{ role: "user", content }] });
  };
  const answers = await Promise.all(numbers.map(one));
  assert.deepEqual(answers.map((answer) => answer.choices[0].message.content), numbers);
});

test("the provider gets its own key", async () => {
  await client().chat.completions.create({ model: "mock", messages: HELLO });
  const last = await stack.last();
  assert.equal(last.headers.authorization, `Bearer ${UPSTREAM_KEY}`);
  assert.ok(!JSON.stringify(last).includes(stack.key));
});
