// The JSON that a form stands for. Numbers are sent as they are typed, so that no digit is lost.
//
// An element with `data-kind` is a field of the JSON under its `name`, or `data-name` where it is no
// input. `data-member="provider_params.limits.max_concurrency"` makes it a member of the object that
// another field holds as JSON.
// @ts-check

/** @typedef {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} Input */

/**
 * Returns the body of a request that a form stands for.
 * @param {HTMLFormElement} form
 * @returns {string} JSON
 * @throws {Error} which names the field that cannot be used
 */
export function bodyOf(form) {
  /** @type {Map<string, string>} */
  const fields = new Map();
  /** @type {Map<string, [string[], string | undefined][]>} */
  const members = new Map();
  for (const element of form.querySelectorAll("[data-kind]")) {
    const value = json(element);
    const name = element.getAttribute("name") ?? element.getAttribute("data-name");
    const [field, ...path] = element.getAttribute("data-member")?.split(".") ?? [];
    if (field) members.set(field, [...(members.get(field) ?? []), [path, value]]);
    else if (value !== undefined && name) fields.set(name, value);
  }
  for (const [field, list] of members) fields.set(field, withMembers(field, fields.get(field) ?? "{}", list));
  return `{${[...fields].map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`;
}

/**
 * Returns the JSON of an object with members that have fields of their own.
 * @param {string} field its name
 * @param {string} text its JSON as typed
 * @param {[string[], string | undefined][]} members path and JSON of each
 */
function withMembers(field, text, members) {
  const object = JSON.parse(text);
  const twice = members.map(([path]) => path[0] ?? "").find((name) => object[name] !== undefined);
  if (twice) throw new Error(`${twice} has fields of its own in this form; leave it out of ${field}`);
  for (const [path, value] of members) {
    if (value === undefined) continue;
    let place = object;
    for (const step of path.slice(0, -1)) {
      place = place[step] ??= {};
      if (typeof place !== "object") throw new Error(`${step} is off; leave ${path.join(".")} empty`);
    }
    place[path[path.length - 1] ?? ""] = JSON.parse(value);
  }
  return JSON.stringify(object);
}

/**
 * The JSON of one field; undefined leaves it out.
 * @param {Element} element
 * @returns {string | undefined}
 */
function json(element) {
  switch (element.getAttribute("data-kind")) {
    case "mapping":
      return mapping(element);
    case "members":
      return JSON.stringify(rowsOf(element).map(member));
    case "choices": {
      const chosen = [...element.querySelectorAll("input")].filter((input) => input.checked);
      return JSON.stringify(chosen.map((input) => input.value));
    }
    default:
      return scalar(/** @type {Input} */ (element));
  }
}

/**
 * @param {Input} field
 * @returns {string | undefined}
 */
function scalar(field) {
  const text = field.value.trim();
  const empty = field.dataset["empty"] === "null" ? "null" : undefined;
  const title = field.dataset["member"] ?? field.name;
  switch (field.dataset["kind"]) {
    case "bool":
      return JSON.stringify(/** @type {HTMLInputElement} */ (field).checked);
    case "number":
      if (text === "") return empty;
      if (!/^-?\d+$/.test(text)) throw new Error(`${title} must be a whole number, not ${text}`);
      return text.replace(/^(-?)0+(?=\d)/, "$1");
    case "decimal":
      if (text === "") return empty;
      if (!/^\d+(\.\d+)?$/.test(text)) throw new Error(`${title} must be a number such as 12.50, not ${text}`);
      return text.replace(/^0+(?=\d)/, "");
    case "per-million":
      if (text === "") return undefined;
      if (!/^\d+(\.\d+)?$/.test(text)) throw new Error(`${title} must be a number such as 12.50, not ${text}`);
      return `${text.replace(/^0+(?=\d)/, "")}e-6`;
    case "numbers": {
      const parts = text.split(/[\s,]+/).filter((part) => part !== "");
      const wrong = parts.find((part) => !/^\d+$/.test(part));
      if (wrong !== undefined) throw new Error(`${title} must be whole numbers with commas between them, not ${wrong}`);
      return `[${parts.map((part) => part.replace(/^0+(?=\d)/, "")).join(",")}]`;
    }
    case "lines-or-none":
      return text === "" ? undefined : lines(text);
    case "lines":
      return lines(text);
    case "time":
      return text === "" ? empty : JSON.stringify(`${text.slice(0, 16)}:00Z`);
    case "json":
      return text === "" ? (empty ?? (field.dataset["member"] ? undefined : "{}")) : checkedJson(title, text);
    default:
      return text === "" ? empty : JSON.stringify(text);
  }
}

/** @param {string} text */
const lines = (text) => JSON.stringify(text.split("\n").map((line) => line.trim()).filter((line) => line !== ""));

/** @param {string} title @param {string} text */
function checkedJson(title, text) {
  try {
    JSON.parse(text);
  } catch (error) {
    throw new Error(`${title} is not valid JSON: ${error instanceof Error ? error.message : error}`);
  }
  return text;
}

/** @param {Element} editor */
const rowsOf = (editor) => [...editor.querySelectorAll("[data-row]")];

/**
 * The pairs of a mapping, in their order, which matters.
 * @param {Element} editor
 */
function mapping(editor) {
  const pairs = rowsOf(editor).flatMap((row) => {
    const [from = "", to = ""] = [...row.querySelectorAll("input")].map((input) => input.value.trim());
    return from ? [`${JSON.stringify(from)}:${JSON.stringify(to || from)}`] : [];
  });
  return `{${pairs.join(",")}}`;
}

/**
 * A member of a virtual model: its fields, and what this page has no field for.
 * @param {Element} row
 */
function member(row) {
  const object = JSON.parse(row.getAttribute("data-rest") ?? "{}");
  for (const input of row.querySelectorAll("input")) {
    const [name, text] = [input.dataset["cell"] ?? "", input.value.trim()];
    if (text === "") continue;
    if (input.inputMode === "numeric" && !/^\d+$/.test(text)) throw new Error(`${name} must be a whole number, not ${text}`);
    object[name] = input.inputMode === "numeric" ? Number(text) : text;
  }
  return object;
}

/**
 * Adds an empty row to the editor before a button.
 * @param {Element} button
 */
export function addRow(button) {
  const group = button.parentElement;
  const template = /** @type {HTMLTemplateElement | null} */ (group?.querySelector("template") ?? null);
  const editor = group?.querySelector("[data-rows]");
  if (!editor || !template) return;
  editor.append(template.content.cloneNode(true));
  editor.lastElementChild?.querySelector("input")?.focus();
}
