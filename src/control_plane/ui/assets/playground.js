// The playground: a request as a client sends it, and its answer as it comes.
// @ts-check

/** @typedef {{ path: string, body: any }} Call */

/** @param {string} name */
const field = (name) => /** @type {HTMLInputElement} */ (document.querySelector(`#playground [name="${name}"]`));
/** @param {string} id */
const place = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

const kept = sessionStorage.getItem("playground-key");
if (kept) field("key").value = kept;

/** @returns {Call} */
function call() {
  const model = field("model").value.trim();
  const [system, prompt] = [field("system").value, field("prompt").value];
  const most = Number(field("max_tokens").value) || 256;
  const stream = field("stream").checked;
  switch (field("format").value) {
    case "messages": {
      const body = { model, max_tokens: most, stream, messages: [{ role: "user", content: prompt }] };
      return { path: "/v1/messages", body: system ? { ...body, system } : body };
    }
    case "responses": {
      const body = { model, max_output_tokens: most, stream, input: prompt };
      return { path: "/v1/responses", body: system ? { ...body, instructions: system } : body };
    }
    default: {
      const messages = [{ role: "user", content: prompt }];
      if (system) messages.unshift({ role: "system", content: system });
      return { path: "/v1/chat/completions", body: { model, max_tokens: most, stream, messages } };
    }
  }
}

/** @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

function showCode() {
  const { path, body } = call();
  const origin = location.origin;
  place("as-curl").textContent =
    `curl -sN ${origin}${path} -H "Authorization: Bearer $LLM_PROXY_KEY" \\\n  -H 'Content-Type: application/json' \\\n  -d ${quoted(JSON.stringify(body))}`;
  const python = JSON.stringify(body, null, 4).replaceAll(": true", ": True").replaceAll(": false", ": False");
  const module = path === "/v1/messages" ? ["anthropic", "Anthropic", origin] : ["openai", "OpenAI", `${origin}/v1`];
  const method = { "/v1/messages": "messages", "/v1/responses": "responses" }[path] ?? "chat.completions";
  place("as-python").textContent =
    `import os\nfrom ${module[0]} import ${module[1]}\n\nclient = ${module[1]}(base_url="${module[2]}", api_key=os.environ["LLM_PROXY_KEY"])\nanswer = client.${method}.create(**${python})\nprint(answer)`;
}

/**
 * The text in one event or whole answer of any of the formats.
 * @param {any} data
 */
function textOf(data) {
  if (data.type === "content_block_delta") return data.delta?.text ?? data.delta?.thinking ?? "";
  if (data.type === "response.output_text.delta") return data.delta ?? "";
  if (Array.isArray(data.choices)) return data.choices.map((/** @type {any} */ one) => one.delta?.content ?? one.message?.content ?? "").join("");
  if (Array.isArray(data.content)) return data.content.map((/** @type {any} */ one) => one.text ?? "").join("");
  if (Array.isArray(data.output)) return data.output.flatMap((/** @type {any} */ item) => item.content ?? []).map((/** @type {any} */ part) => part.text ?? "").join("");
  return "";
}

/** @param {string} line */
function event(line) {
  if (!line.startsWith("data:")) return;
  const text = line.slice(5).trim();
  place("raw").textContent += `${text}\n`;
  if (text === "[DONE]") return;
  try {
    const data = JSON.parse(text);
    place("answer").textContent += textOf(data);
    const message = data.error?.message;
    if (message) fail(message);
  } catch {
    // Shown among the events as it came.
  }
}

/** @param {string} message */
function fail(message) {
  const error = place("playground-error");
  error.textContent = message;
  error.hidden = false;
}

/** @param {Response} response @param {number} began */
function head(response, began) {
  const names = ["x-llm-proxy-provider", "x-llm-proxy-upstream-model", "x-llm-proxy-attempts", "x-llm-proxy-dropped", "x-llm-proxy-repaired", "x-request-id"];
  const facts = names.flatMap((name) => {
    const value = response.headers.get(name);
    return value ? [`${name}: ${value}`] : [];
  });
  place("facts").textContent = [`status ${response.status} after ${Math.round(performance.now() - began)} ms`, ...facts].join("\n");
}

/** @type {AbortController | null} */
let running = null;

async function run() {
  const { path, body } = call();
  for (const id of ["answer", "raw", "facts"]) place(id).textContent = "";
  place("playground-error").hidden = true;
  running = new AbortController();
  place("stop").hidden = false;
  const began = performance.now();
  try {
    const headers = { authorization: `Bearer ${field("key").value.trim()}`, "content-type": "application/json" };
    const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), credentials: "omit", signal: running.signal });
    head(response, began);
    const isStream = (response.headers.get("content-type") ?? "").startsWith("text/event-stream");
    if (!isStream || !response.body) {
      const text = await response.text();
      place("raw").textContent = text;
      const data = JSON.parse(text);
      if (response.ok) place("answer").textContent = textOf(data);
      else fail(data.error?.message ?? text);
    } else {
      await read(response.body);
    }
    place("facts").textContent += `\nended after ${Math.round(performance.now() - began)} ms`;
  } catch (error) {
    fail(error instanceof Error ? error.message : String(error));
  } finally {
    place("stop").hidden = true;
    running = null;
  }
}

/** @param {ReadableStream<Uint8Array>} stream */
async function read(stream) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    lines.forEach(event);
  }
  event(rest);
}

place("playground").addEventListener("input", showCode);
place("playground").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  run();
});
place("stop").addEventListener("click", () => running?.abort());
showCode();
