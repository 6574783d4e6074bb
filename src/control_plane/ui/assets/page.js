// What is live on the operator's page. It talks to /admin/v1 alone, with the session's cookie.
// @ts-check

import { PAGE_FIELD, messageOf, send, showSession } from "./admin.js";
import { addRow, bodyOf } from "./form.js";

/**
 * Shows what came of a change in the nearest place for it.
 * @param {Element} element the form or button of the change
 * @param {string} message
 * @param {"good" | "bad"} kind
 */
function tell(element, message, kind) {
  /** @type {Element | null} */
  let around = element;
  while (around && !around.querySelector(".outcome")) around = around.parentElement;
  const place = around?.querySelector(".outcome");
  if (!place) return;
  place.className = `outcome ${kind}`;
  place.textContent = message;
}

/**
 * Shows a key that will not be shown again.
 * @param {Element} place
 * @param {string} key
 */
function showKey(place, key) {
  const panel = document.getElementById("new-key");
  if (!panel) return;
  const shown = panel.querySelector("code");
  if (shown) shown.textContent = key;
  panel.hidden = false;
  panel.scrollIntoView({ block: "center" });
  panel.querySelector("[data-use-key]")?.addEventListener("click", () => {
    // For this tab alone, until it is closed.
    sessionStorage.setItem("playground-key", key);
  });
  if (place instanceof HTMLElement) place.hidden = true;
}

/**
 * @param {Element} element
 * @param {any} answer
 */
function done(element, answer) {
  const then = element.getAttribute("data-then") ?? "reload";
  if (then === "key" && answer.key) showKey(element, answer.key);
  else if (then === "key") location.assign("/ui/keys");
  else if (then === "show") tell(element, summary(answer), answer.status === "unhealthy" ? "bad" : "good");
  else if (then === "reload") location.reload();
  else location.assign(then.replace("{id}", idOf(answer)));
}

/**
 * The id of the row that an answer holds.
 * @param {Record<string, any>} answer
 * @returns {string}
 */
const idOf = (answer) => String(Object.values(answer).find((value) => value?.id !== undefined)?.id ?? "");

/**
 * What a check of a provider has found.
 * @param {any} answer
 */
function summary(answer) {
  /** @type {any[]} */
  const models = answer.models ?? [];
  const lines = models.map((one) => `${one.model}: ${one.status}${one.response_time_ms != null ? `, ${one.response_time_ms} ms` : ""}${one.error ? `: ${one.error}` : ""}`);
  return [answer.error, ...lines].filter(Boolean).join("\n") || `status: ${answer.status ?? "done"}`;
}

/**
 * @param {Element} element
 * @param {string | undefined} body
 */
async function act(element, body) {
  const buttons = element instanceof HTMLButtonElement ? [element] : [...element.querySelectorAll("button")];
  for (const button of buttons) button.disabled = true;
  tell(element, "", "good");
  try {
    const path = element.getAttribute("data-path") ?? "";
    const answer = await send(element.getAttribute("data-method") ?? "POST", path, body, element.getAttribute("data-version") ?? undefined);
    done(element, answer);
  } catch (error) {
    tell(element, error instanceof Error ? error.message : String(error), "bad");
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

document.addEventListener("submit", (event) => {
  const form = /** @type {HTMLFormElement} */ (event.target);
  if (form.id === "sign-in") {
    event.preventDefault();
    signIn(form);
  } else if (form.hasAttribute("data-path")) {
    event.preventDefault();
    try {
      act(form, bodyOf(form));
    } catch (error) {
      tell(form, error instanceof Error ? error.message : String(error), "bad");
    }
  }
});

document.addEventListener("click", (event) => {
  const target = /** @type {Element} */ (event.target);
  const button = target.closest("button");
  if (!button) return;
  if (button.hasAttribute("data-path")) {
    const question = button.getAttribute("data-confirm");
    if (!question || confirm(question)) act(button, button.getAttribute("data-body") ?? undefined);
  } else if (button.hasAttribute("data-copy")) {
    copy(button);
  } else if (button.hasAttribute("data-sign-out")) {
    fetch("/ui/session", { method: "DELETE", headers: PAGE_FIELD }).finally(() => location.assign("/ui/sign-in"));
  } else if (button.hasAttribute("data-add-row")) {
    addRow(button);
  } else if (button.hasAttribute("data-remove-row")) {
    button.closest("[data-row]")?.remove();
  }
});

/** @param {Element} button */
async function copy(button) {
  const text = button.parentElement?.querySelector("code")?.textContent ?? "";
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    // Browsers copy on https and localhost alone; the text can be selected by hand.
    const selection = getSelection();
    const code = button.parentElement?.querySelector("code");
    if (code && selection) selection.selectAllChildren(code);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

/** @param {HTMLFormElement} form */
async function signIn(form) {
  const error = /** @type {HTMLElement} */ (form.querySelector(".error"));
  const key = /** @type {HTMLInputElement} */ (form.elements.namedItem("key"));
  error.hidden = true;
  try {
    const headers = { ...PAGE_FIELD, authorization: `Bearer ${key.value.trim()}` };
    const response = await fetch("/ui/session", { method: "POST", headers });
    if (response.ok) {
      const next = new URLSearchParams(location.search).get("next") ?? "/ui";
      // Nowhere but to a page of this gateway.
      location.assign(/^\/ui(\/|\?|$)/.test(next) ? next : "/ui");
      return;
    }
    error.textContent = messageOf(response, await response.text());
  } catch {
    error.textContent = "The gateway does not answer, or the key has a character that a header cannot hold.";
  }
  error.hidden = false;
  key.select();
}

// The link that a first start prints has the key behind `#`, which is sent to nobody.
const signingIn = document.getElementById("sign-in");
if (signingIn instanceof HTMLFormElement && location.hash.length > 1) {
  const key = /** @type {HTMLInputElement} */ (signingIn.elements.namedItem("key"));
  key.value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname + location.search);
  signIn(signingIn);
}

// A vendor's preset fills the form of a new provider.
document.getElementById("vendor")?.addEventListener("change", (event) => {
  const option = /** @type {HTMLSelectElement} */ (event.target).selectedOptions[0];
  for (const [name, value] of Object.entries(option?.dataset ?? {})) {
    const field = /** @type {HTMLInputElement | null} */ (document.querySelector(`[data-preset="${name}"]`));
    if (field) field.value = value ?? "";
  }
});

// Whether the gateway is there.
const banner = document.getElementById("connection");
async function look() {
  try {
    const response = await fetch("/health", { cache: "no-store" });
    if (banner) banner.hidden = response.ok;
  } catch {
    if (banner) banner.hidden = false;
  }
}
if (banner) setInterval(look, 5000);

// A list that follows the gateway: the same page again, of which the list is taken.
const follow = /** @type {HTMLInputElement | null} */ (document.getElementById("follow"));
let isRefreshing = false;
async function refresh() {
  const live = document.getElementById("live");
  // A slow search is not asked for again before it has ended.
  if (!follow?.checked || !live || document.hidden || isRefreshing) return;
  isRefreshing = true;
  try {
    const response = await fetch(location.href);
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("live");
    if (fresh) replaceList(live, fresh);
    // Without a session the sign-in page comes in its place.
    if (response.ok) showSession(fresh !== null);
  } catch {
    // The banner tells of a lost connection.
  } finally {
    isRefreshing = false;
  }
}
if (follow) setInterval(refresh, 2000);

/** @param {Element} list */
const linksOf = (list) => /** @type {NodeListOf<HTMLAnchorElement>} */ (list.querySelectorAll("tbody a"));

/**
 * Replaces a list by a fresh one. Its new rows are marked, and the focus stays on its row.
 * @param {Element} list
 * @param {Element} fresh
 */
function replaceList(list, fresh) {
  const known = new Set([...linksOf(list)].map((link) => link.href));
  const focused = document.activeElement instanceof HTMLAnchorElement ? document.activeElement.href : "";
  const hasFocus = list.contains(document.activeElement);
  list.replaceChildren(...fresh.childNodes);
  for (const link of linksOf(list)) {
    if (hasFocus && link.href === focused) link.focus({ preventScroll: true });
    if (known.size > 0 && !known.has(link.href)) link.closest("tr")?.classList.add("fresh");
  }
}
