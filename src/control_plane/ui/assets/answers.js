// What an answer says, event by event or whole, in each of the client formats.
// @ts-check

/**
 * @typedef {{ name: string, input: string }} ToolCall
 */

/** The text, thoughts and tool calls of an answer, as far as it has come. */
export class Answer {
  text = "";
  thoughts = "";
  error = "";
  /** @type {Map<string, ToolCall>} */
  calls = new Map();

  /**
   * Takes an event of a stream, or a whole answer.
   * @param {any} data its JSON
   */
  take(data) {
    if (data.error?.message) this.error = data.error.message;
    if (typeof data.type === "string" && data.type.startsWith("response.")) this.#responsesEvent(data);
    else if (Array.isArray(data.choices)) data.choices.forEach((/** @type {any} */ choice) => this.#choice(choice.delta ?? choice.message ?? {}));
    else if (Array.isArray(data.content)) data.content.forEach((/** @type {any} */ block, /** @type {number} */ at) => this.#block(block, at));
    else if (Array.isArray(data.output)) data.output.forEach((/** @type {any} */ item, /** @type {number} */ at) => this.#item(item, at));
    else this.#messagesEvent(data);
  }

  /** @param {string} id @param {string | undefined} name @param {string} input */
  #call(id, name, input) {
    const call = this.calls.get(id) ?? { name: "", input: "" };
    this.calls.set(id, { name: call.name + (name ?? ""), input: call.input + input });
  }

  /** @param {any} part */
  #choice(part) {
    this.text += part.content ?? "";
    this.thoughts += part.reasoning_content ?? part.reasoning ?? "";
    (part.tool_calls ?? []).forEach((/** @type {any} */ call, /** @type {number} */ at) => {
      this.#call(String(call.index ?? at), call.function?.name, call.function?.arguments ?? "");
    });
  }

  /** @param {any} data */
  #messagesEvent(data) {
    if (data.type === "content_block_start") this.#block(data.content_block, data.index);
    if (data.type !== "content_block_delta") return;
    this.text += data.delta?.text ?? "";
    this.thoughts += data.delta?.thinking ?? "";
    if (data.delta?.partial_json) this.#call(String(data.index), "", data.delta.partial_json);
  }

  /** @param {any} block @param {number} at */
  #block(block, at) {
    this.text += block.text ?? "";
    this.thoughts += block.thinking ?? "";
    if (block.type !== "tool_use") return;
    // A stream begins with an empty input, and the deltas bring it.
    this.#call(String(at), block.name, Object.keys(block.input ?? {}).length ? JSON.stringify(block.input) : "");
  }

  /** @param {any} data */
  #responsesEvent(data) {
    if (data.type === "response.output_text.delta") this.text += data.delta ?? "";
    if (data.type === "response.reasoning_summary_text.delta") this.thoughts += data.delta ?? "";
    if (data.type === "response.function_call_arguments.delta") this.#call(String(data.output_index), "", data.delta ?? "");
    if (data.type === "response.output_item.added" && data.item?.type === "function_call") this.#call(String(data.output_index), data.item.name, "");
    if (data.type === "response.failed") this.error = data.response?.error?.message ?? "the response failed";
  }

  /** @param {any} item @param {number} at */
  #item(item, at) {
    for (const part of item.content ?? []) this.text += part.text ?? "";
    for (const part of item.summary ?? []) this.thoughts += part.text ?? "";
    if (item.type === "function_call") this.#call(String(at), item.name, item.arguments ?? "");
  }
}

/**
 * Calls `take` with the data of each event of a stream.
 * @param {ReadableStream<Uint8Array>} stream
 * @param {(data: string) => void} take
 */
export async function eachEvent(stream, take) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  const line = (/** @type {string} */ line) => {
    if (line.startsWith("data:")) take(line.slice(5).trim());
  };
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    lines.forEach(line);
  }
  line(rest);
}
