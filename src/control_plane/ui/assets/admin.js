// Requests to the admin interface with the session's cookie.
// @ts-check

/** The field that tells a change by this page from one that another site makes a browser send. */
export const PAGE_FIELD = { "x-llm-proxy-page": "1" };

/**
 * Returns the message of an error of the gateway, or what stands for it.
 * @param {Response} response
 * @param {string} text
 * @returns {string}
 */
export function messageOf(response, text) {
  try {
    const body = JSON.parse(text);
    return body.error?.message ?? body.message ?? text;
  } catch {
    return text || `the gateway answered with status ${response.status}`;
  }
}

/**
 * Shows or hides the notice that the session has ended, which leads to the sign-in page.
 * @param {boolean} isOpen
 */
export function showSession(isOpen) {
  const notice = document.getElementById("session");
  if (!notice) return;
  const appears = !isOpen && notice.hidden;
  notice.hidden = isOpen;
  if (appears) notice.scrollIntoView({ block: "nearest" });
}

/**
 * Sends a change to the admin interface.
 * @param {string} method
 * @param {string} path
 * @param {string | undefined} body JSON
 * @param {string | undefined} version the version of the row that is changed
 * @returns {Promise<any>} the JSON of the response
 * @throws {Error} with the gateway's own message
 */
export async function send(method, path, body, version) {
  /** @type {Record<string, string>} */
  const headers = { ...PAGE_FIELD };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (version) headers["if-match"] = `"${version}"`;
  let response;
  try {
    response = await fetch(path, { method, headers, body: body ?? null });
  } catch {
    throw new Error("The gateway does not answer; nothing is known of this change. Try again.");
  }
  const text = await response.text();
  showSession(response.status !== 401);
  if (!response.ok) {
    if (response.status === 401) throw new Error("Your session has ended, and nothing was changed. Sign in again and repeat this.");
    const message = messageOf(response, text);
    throw new Error(response.status === 412 ? `${message}. Reload this page to see the other change.` : message);
  }
  return text ? JSON.parse(text) : {};
}
