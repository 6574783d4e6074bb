// The playground: a request as a client sends it, in one format or in all of them, to one model or to
// two at a time, and the answers as they come.
// @ts-check

import { messageOf } from "./admin.js";
import { Answer, eachEvent } from "./answers.js";
import { asShell, asNode, asPython, call } from "./requests.js";

/** @typedef {import("./requests.js").Wish} Wish */
/** @typedef {import("./requests.js").Picture} Picture */

/** Pictures and their bytes at most: what requests may hold is decided by the gateway. */
const MOST_PICTURES = 8;

/** @param {string} name */
const field = (name) => /** @type {HTMLInputElement} */ (document.querySelector(`#playground [name="${name}"]`));
/** @param {string} id */
const place = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

const kept = sessionStorage.getItem("playground-key");
if (kept) field("key").value = kept;

/** @type {Picture[]} */
let pictures = [];

/**
 * What the form asks for.
 * @param {string} model
 * @param {string} format
 * @returns {Wish}
 * @throws {Error} for tools that are no list of tools
 */
function wish(model, format) {
  return {
    format,
    model,
    system: field("system").value,
    prompt: field("prompt").value,
    most: Number(field("max_tokens").value) || 256,
    stream: field("stream").checked,
    pictures,
    tools: tools(),
    more: more(),
  };
}

/** @returns {import("./requests.js").Tool[]} */
function tools() {
  const list = parsed("tools") ?? [];
  if (!Array.isArray(list) || list.some((tool) => typeof tool?.name !== "string")) {
    throw new Error("The tools must be a list of objects with a name each.");
  }
  return list;
}

/** @returns {object} */
function more() {
  const object = parsed("more") ?? {};
  if (typeof object !== "object" || Array.isArray(object)) throw new Error("The other fields must be an object.");
  return object;
}

/**
 * The JSON in a field; undefined of an empty one.
 * @param {string} name
 */
function parsed(name) {
  const text = field(name).value.trim();
  if (!text) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`The field ${name} is not valid JSON: ${error instanceof Error ? error.message : error}`);
  }
}

const EXAMPLE = [{ name: "get_weather", description: "The weather at a place", parameters: { type: "object", properties: { place: { type: "string" } }, required: ["place"] } }];

function models() {
  return ["model", "model-2"].map((name) => field(name).value.trim()).filter((model) => model !== "");
}

/** The formats that are chosen, each with its title. */
function formats() {
  const list = /** @type {HTMLSelectElement} */ (place("format"));
  const all = [...list.options].filter((one) => one.value !== "all");
  return all.filter((one) => list.value === "all" || one.selected).map((one) => ({ name: one.value, title: one.text }));
}

function showCode() {
  try {
    const model = field("model").value.trim();
    const all = formats().map(({ name }) => wish(model, name));
    const code = (/** @type {typeof asShell} */ as) => all.map((one) => as(one, location.origin)).join("\n\n");
    place("as-curl").textContent = code(asShell);
    place("as-python").textContent = code(asPython);
    place("as-node").textContent = code(asNode);
    place("playground-error").hidden = true;
  } catch (error) {
    fail(place("playground-error"), error);
  }
  place("pictures-chosen").textContent = pictures.map((one) => one.name).join(", ");
}

/** @param {HTMLElement} element @param {unknown} error */
function fail(element, error) {
  element.textContent = error instanceof Error ? error.message : String(error);
  element.hidden = false;
}

/** One answer on the page. */
class Panel {
  /** @param {string} title */
  constructor(title) {
    const template = /** @type {HTMLTemplateElement} */ (place("answer-panel"));
    this.root = /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
    this.part("title").textContent = title;
    this.answer = new Answer();
  }

  /** @param {string} name */
  part(name) {
    return /** @type {HTMLElement} */ (this.root.querySelector(`[data-part="${name}"]`));
  }

  /** @param {string} name @param {string} text */
  show(name, text) {
    this.part(name).textContent = text;
    this.part(name).hidden = text === "";
  }

  /** @param {string} text an event's data, or a whole body */
  take(text) {
    this.part("events").textContent += `${text}\n`;
    if (text === "[DONE]") return;
    try {
      this.answer.take(JSON.parse(text));
    } catch {
      // Shown among the events as it came.
    }
    const { text: said, thoughts, error, calls } = this.answer;
    this.part("text").textContent = said;
    this.show("thoughts", thoughts);
    this.show("error", error);
    this.show("calls", [...calls.values()].map((one) => `${one.name}(${one.input})`).join("\n"));
  }

  /** @param {Response} response @param {number} began */
  head(response, began) {
    const names = ["x-llm-proxy-provider", "x-llm-proxy-upstream-model", "x-llm-proxy-attempts", "x-request-id"];
    const facts = names.flatMap((name) => {
      const value = response.headers.get(name);
      return value ? [`${name}: ${value}`] : [];
    });
    this.part("facts").textContent = [`status ${response.status} after ${Math.round(performance.now() - began)} ms`, ...facts].join("\n");
    const dropped = response.headers.get("x-llm-proxy-dropped");
    const repaired = response.headers.get("x-llm-proxy-repaired");
    this.show("dropped", dropped ? `Left out for this provider: ${dropped}` : "");
    this.show("repaired", repaired ? `Repaired: ${repaired}` : "");
  }
}

/** @type {AbortController | null} */
let running = null;

async function run() {
  /** @type {(readonly [Panel, Wish])[]} */
  let panels;
  try {
    const all = formats();
    panels = models().flatMap((model) => all.map(({ name, title }) => {
      const shown = all.length > 1 ? `${model} by ${title}` : model;
      return /** @type {const} */ ([new Panel(shown), wish(model, name)]);
    }));
  } catch (error) {
    return fail(place("playground-error"), error);
  }
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  place("answers").replaceChildren(...panels.map(([panel]) => panel.root));
  place("stop").hidden = false;
  await Promise.all(panels.map(([panel, one]) => ask(panel, one, signal)));
  // Another request may have begun meanwhile.
  if (running?.signal !== signal) return;
  place("stop").hidden = true;
  running = null;
}

/**
 * @param {Panel} panel
 * @param {Wish} wish
 * @param {AbortSignal} signal
 */
async function ask(panel, wish, signal) {
  const { path, body } = call(wish);
  const began = performance.now();
  try {
    const headers = { authorization: `Bearer ${field("key").value.trim()}`, "content-type": "application/json" };
    const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), credentials: "omit", signal });
    panel.head(response, began);
    if ((response.headers.get("content-type") ?? "").startsWith("text/event-stream") && response.body) {
      await eachEvent(response.body, (data) => panel.take(data));
    } else {
      const text = await response.text();
      panel.take(text);
      if (!response.ok) panel.show("error", messageOf(response, text));
    }
    panel.part("facts").textContent += `\nended after ${Math.round(performance.now() - began)} ms`;
  } catch (error) {
    fail(panel.part("error"), error);
  }
}

/**
 * Reads the pictures that were chosen.
 * @param {FileList | null} files
 */
async function readPictures(files) {
  const chosen = [...(files ?? [])].slice(0, MOST_PICTURES);
  pictures = await Promise.all(chosen.map(async (file) => ({ name: file.name, type: file.type, data: await base64(file) })));
  showCode();
}

/**
 * @param {File} file
 * @returns {Promise<string>}
 */
function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).split(",")[1] ?? "");
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

place("playground").addEventListener("input", showCode);
field("pictures").addEventListener("change", () => readPictures(field("pictures").files));
place("example-tool").addEventListener("click", () => {
  field("tools").value = JSON.stringify(EXAMPLE, null, 2);
  showCode();
});
place("playground").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  run();
});
place("stop").addEventListener("click", () => running?.abort());
showCode();
