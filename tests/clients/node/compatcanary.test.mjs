// What an endpoint that calls itself compatible with OpenAI must do, as `compatcanary` probes it, by providers of each format.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { scanEndpoint } from "compatcanary";

import { ROUTES, Stack } from "./stack.mjs";

let stack;
before(async () => {
  stack = await Stack.start();
});
after(() => stack?.stop());

for (const model of ROUTES) {
  test(`every probe passes, ${model}`, async () => {
    const report = await scanEndpoint({ baseUrl: `${stack.url}/v1`, model, apiKey: stack.key });
    // The models are patterns, which no list shows.
    const unlisted = (result) => result.id === "models.list" && result.status === "warn";
    const wrong = report.results.filter((result) => result.status !== "pass" && !unlisted(result));
    assert.deepEqual(
      wrong.map((result) => `${result.id}: ${result.status} ${result.summary}`),
      [],
    );
    assert.ok(report.compatible && report.results.length > 5);
  });
}
