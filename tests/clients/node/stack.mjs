// A gateway with three providers, one of each format, all on one mock: started through the command
// line, as an operator would.
//
// `mock...` is served by the provider of the client's own format, byte for byte. `chat/NAME`,
// `messages/NAME` and `responses/NAME` are served by the provider of that name, whatever the
// client's format; it knows the model under another name, so that the answer's name is put back.
// The models are some that think, at hosts that know how to ask for it: nothing is left out for
// want of knowledge. What follows `mock-` tells the mock what to do: `mock-429`, `mock-stall`,
// `mock-tokens-200-interval-20`.

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const BINARY = process.env.LLM_PROXY_BIN ?? fileURLToPath(new URL("../../../target/debug/llm-proxy", import.meta.url));

// What the mock says when it is asked for nothing special.
export const USUAL = "The mock upstream answers with the same words each time, so a test can tell.";
export const UPSTREAM_KEY = "sk-the-key-of-the-provider";
export const LISTED = "team/large";
// One name for each provider, and one that is relayed byte for byte.
export const ROUTES = ["mock", "chat/mock", "messages/mock", "responses/mock"];
export const HELLO = [{ role: "user", content: "Hello" }];

// A tool's schema, and the arguments that the mock makes up for it.
export const WEATHER = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" } },
  required: ["city", "days"],
  additionalProperties: false,
};
export const WEATHER_ARGUMENTS = { city: "some city", days: 1 };

const START_MS = 30_000;
const CLOSE_MS = 10_000;

export class Stack {
  #dir = mkdtempSync(join(tmpdir(), "llm-proxy-clients-"));
  // No settings of whoever runs the tests.
  // The mock's failures are for the clients: the gateway neither repeats requests nor remembers.
  #plain = { RETRY_MAX_WAIT_SECS: "0", ADAPTIVE_ROUTING_ENABLED: "false" };
  #env = { PATH: process.env.PATH, DATA_DIR: join(this.#dir, "data"), ...this.#plain };
  #processes = [];

  static async start() {
    const stack = new Stack();
    try {
      await stack.#start();
    } catch (error) {
      await stack.stop();
      throw error;
    }
    return stack;
  }

  async #start() {
    this.mock = await this.#listening("mock", "--port", "0");
    // A prefix chooses the format of the provider; without one nothing is translated.
    const every = '{"formats":["chat","messages","responses"]}';
    for (const [name, type, base, pairs, params] of [
      ["every", "openai", `${this.mock}/v1`, ["mock*=mock*", `${LISTED}=mock-large`], every],
      ["chat", "openai", `${this.mock}/v1`, ["chat/*=z-ai/*"], '{"host":"openrouter"}'],
      ["messages", "anthropic", this.mock, ["messages/*=claude-opus-4-5-*"], '{"host":"anthropic"}'],
      ["responses", "responses", `${this.mock}/v1`, ["responses/*=gpt-5.5-*"], '{"host":"openai"}'],
    ]) {
      const row = ["--key", name, "--type", type, "--base", base, "--api-key", UPSTREAM_KEY, "--params", params];
      this.#run("provider", "add", ...row, ...pairs.flatMap((pair) => ["--map", pair]));
    }
    this.key = this.#run("key", "create", "--name", "tests").trim();
    this.url = await this.#listening("serve", "--host", "127.0.0.1", "--port", "0");
  }

  #run(...args) {
    return execFileSync(BINARY, args, { env: this.#env, cwd: this.#dir, encoding: "utf8", stdio: "pipe" });
  }

  // Starts a server and gives its address, which both kinds tell in a line `listening: URL`.
  #listening(...args) {
    const child = spawn(BINARY, args, { env: this.#env, cwd: this.#dir, stdio: ["ignore", "pipe", "pipe"] });
    this.#processes.push(child);
    return new Promise((resolve, reject) => {
      let said = "";
      const fail = () => reject(new Error(`llm-proxy ${args[0]} does not listen; it said:\n${said}`));
      const timer = setTimeout(fail, START_MS);
      const hear = (data) => {
        said += data;
        const found = /listening: (https?:\/\/[\w.:[\]-]+)/.exec(said);
        if (found) {
          clearTimeout(timer);
          resolve(found[1]);
        }
      };
      child.stdout.on("data", hear);
      child.stderr.on("data", hear);
      child.on("exit", fail);
      child.on("error", reject);
    });
  }

  async stop() {
    for (const child of this.#processes.reverse()) {
      if (child.exitCode !== null) continue;
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      await ended;
    }
    rmSync(this.#dir, { recursive: true, force: true });
  }

  async #ask(path) {
    return (await fetch(this.mock + path)).json();
  }

  // How many requests of a kind (`chat`, `messages`, ...) have reached the provider.
  async requests(kind) {
    return (await this.#ask("/__count")).requests[kind];
  }

  // How many have reached the provider of a model's route, where `own` is the client's format.
  requestsOf(model, own) {
    return this.requests(model.includes("/") ? model.split("/")[0] : own);
  }

  // How many connections were closed on the provider before its answer had ended.
  async closedEarly() {
    return (await this.#ask("/__count")).client_closed_early;
  }

  // The last request that reached the provider: method, path, headers (names in lower case), body.
  async last() {
    const last = await this.#ask("/__last");
    const headers = Object.fromEntries(last.headers.map(([name, value]) => [name.toLowerCase(), value]));
    return { ...last, headers, body: JSON.parse(last.body) };
  }

  // Waits until the provider has seen its connection closed, which it must long before its answer
  // would end.
  async waitForClose(before) {
    const until = Date.now() + CLOSE_MS;
    while ((await this.closedEarly()) === before) {
      if (Date.now() > until) throw new Error("the provider still sends to a client that has gone");
      await sleep(20);
    }
  }
}
