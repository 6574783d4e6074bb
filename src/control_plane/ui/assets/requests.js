// What a request of the playground is in each client format, and as code for shells and SDKs.
// @ts-check

/**
 * @typedef {{ name: string, type: string, data: string }} Picture `data` is base64
 * @typedef {{ name: string, description?: string, parameters?: object }} Tool
 * @typedef {{ format: string, model: string, system: string, prompt: string, most: number,
 *   stream: boolean, pictures: Picture[], tools: Tool[], more: object }} Wish `more` are members of
 *   the body in the format's own words
 * @typedef {{ path: string, body: any }} Call
 */

/**
 * Returns the path and body of a request in its format.
 * @param {Wish} wish
 * @returns {Call}
 */
export function call(wish) {
  const { model, most, stream, more } = wish;
  switch (wish.format) {
    case "messages":
      return { path: "/v1/messages", body: { model, max_tokens: most, stream, ...messages(wish), ...more } };
    case "responses":
      return { path: "/v1/responses", body: { model, max_output_tokens: most, stream, ...responses(wish), ...more } };
    default:
      return { path: "/v1/chat/completions", body: { model, max_tokens: most, stream, ...chat(wish), ...more } };
  }
}

/** @param {Picture} picture */
const dataUrl = (picture) => `data:${picture.type};base64,${picture.data}`;

/** @param {Wish} wish */
function chat({ system, prompt, pictures, tools }) {
  const parts = [{ type: "text", text: prompt }, ...pictures.map((one) => ({ type: "image_url", image_url: { url: dataUrl(one) } }))];
  const user = { role: "user", content: pictures.length ? parts : prompt };
  const list = system ? [{ role: "system", content: system }, user] : [user];
  return { messages: list, ...(tools.length && { tools: tools.map((tool) => ({ type: "function", function: tool })) }) };
}

/** @param {Wish} wish */
function messages({ system, prompt, pictures, tools }) {
  const shown = pictures.map(({ type, data }) => ({ type: "image", source: { type: "base64", media_type: type, data } }));
  const content = pictures.length ? [...shown, { type: "text", text: prompt }] : prompt;
  const schema = (/** @type {Tool} */ { parameters, ...tool }) => ({ ...tool, input_schema: parameters ?? { type: "object" } });
  return { ...(system && { system }), messages: [{ role: "user", content }], ...(tools.length && { tools: tools.map(schema) }) };
}

/** @param {Wish} wish */
function responses({ system, prompt, pictures, tools }) {
  const parts = [{ type: "input_text", text: prompt }, ...pictures.map((one) => ({ type: "input_image", image_url: dataUrl(one) }))];
  const input = pictures.length ? [{ role: "user", content: parts }] : prompt;
  return { ...(system && { instructions: system }), input, ...(tools.length && { tools: tools.map((tool) => ({ type: "function", ...tool })) }) };
}

// --- as code

/** The data of a picture in a body that becomes code: the code reads the file. */
const FILE = "\u0000file:";

/** @param {Wish} wish */
function callWithFiles(wish) {
  const pictures = wish.pictures.map((picture) => ({ ...picture, data: `${FILE}${picture.name.replace(/[^\w.-]/g, "_")}` }));
  return call({ ...wish, pictures });
}

/** @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/**
 * The request for a shell. The key is a variable.
 * @param {Wish} wish
 * @param {string} origin
 */
export function asShell(wish, origin) {
  const { path, body } = callWithFiles(wish);
  const file = /\\u0000file:([\w.-]+)/g;
  const data = quoted(JSON.stringify(body)).replaceAll(file, (_, name) => `'"$(base64 < ${name} | tr -d '\\n')"'`);
  return `curl -sN ${origin}${path} -H "Authorization: Bearer $LLM_PROXY_KEY" \\\n  -H 'Content-Type: application/json' \\\n  -d ${data}`;
}

/**
 * A value as source text.
 * @param {any} value
 * @param {{ words: string[], file: (name: string) => string, key: (name: string) => string }} language
 * @param {string} indent
 * @returns {string}
 */
function literal(value, language, indent = "") {
  const inner = `${indent}    `;
  if (value === null) return language.words[0] ?? "null";
  if (typeof value === "boolean") return language.words[value ? 1 : 2] ?? String(value);
  if (typeof value === "string") {
    const [text = "", file] = value.split(FILE);
    if (file === undefined) return JSON.stringify(value);
    return text ? `${JSON.stringify(text)} + ${language.file(file)}` : language.file(file);
  }
  if (typeof value !== "object") return String(value);
  const items = Array.isArray(value)
    ? value.map((item) => literal(item, language, inner))
    : Object.entries(value).map(([name, item]) => `${language.key(name)}: ${literal(item, language, inner)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return items.length ? `${open}\n${items.map((item) => `${inner}${item},\n`).join("")}${indent}${close}` : `${open}${close}`;
}

/** @param {string} path */
const method = (path) => ({ "/v1/messages": "messages", "/v1/responses": "responses" })[path] ?? "chat.completions";

/**
 * The request for the official SDK in Python.
 * @param {Wish} wish
 * @param {string} origin
 */
export function asPython(wish, origin) {
  const { path, body } = callWithFiles(wish);
  const isMessages = path === "/v1/messages";
  const [module, name] = isMessages ? ["anthropic", "Anthropic"] : ["openai", "OpenAI"];
  const file = (/** @type {string} */ name) => `base64.b64encode(open(${JSON.stringify(name)}, "rb").read()).decode()`;
  const language = { words: ["None", "True", "False"], file, key: JSON.stringify };
  const fields = Object.entries(body).map(([key, value]) => `    ${key}=${literal(value, language, "    ")},\n`);
  const imports = wish.pictures.length ? "import base64\nimport os\n" : "import os\n";
  const read = wish.stream ? "for event in answer:\n    print(event)" : "print(answer)";
  return `${imports}from ${module} import ${name}\n\nclient = ${name}(base_url=${JSON.stringify(isMessages ? origin : `${origin}/v1`)}, api_key=os.environ["LLM_PROXY_KEY"])\nanswer = client.${method(path)}.create(\n${fields.join("")})\n${read}`;
}

/**
 * The request for the official SDK in Node.js.
 * @param {Wish} wish
 * @param {string} origin
 */
export function asNode(wish, origin) {
  const { path, body } = callWithFiles(wish);
  const isMessages = path === "/v1/messages";
  const [module, name] = isMessages ? ["@anthropic-ai/sdk", "Anthropic"] : ["openai", "OpenAI"];
  const file = (/** @type {string} */ name) => `readFileSync(${JSON.stringify(name)}).toString("base64")`;
  const key = (/** @type {string} */ name) => (/^[a-z_]\w*$/i.test(name) ? name : JSON.stringify(name));
  const language = { words: ["null", "true", "false"], file, key };
  const imports = wish.pictures.length ? 'import { readFileSync } from "node:fs";\n' : "";
  const read = wish.stream ? "for await (const event of answer) console.log(JSON.stringify(event));" : "console.log(JSON.stringify(answer));";
  return `${imports}import ${name} from ${JSON.stringify(module)};\n\nconst client = new ${name}({ baseURL: ${JSON.stringify(isMessages ? origin : `${origin}/v1`)}, apiKey: process.env.LLM_PROXY_KEY });\nconst answer = await client.${method(path)}.create(${literal(body, language)});\n${read}`;
}
