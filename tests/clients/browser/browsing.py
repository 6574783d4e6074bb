"""What the tests of the page have in common: pages, steps that several of them take, and pictures.

With `SCREENSHOTS=DIR` a picture of each page is kept there, light and dark.
"""

import json
import os
import re
import urllib.request
from pathlib import Path

from playwright.sync_api import expect
from stack import ADMIN_KEY

PAGES = [
    *["", "providers", "providers/new", "models", "models/new", "explain", "keys", "keys/new", "groups", "groups/new"],
    *["budgets", "budgets/new", "logs", "spend", "playground", "connect", "prices", "prices/edit", "settings", "audit"],
]
MARKUP = "<img src=x onerror=alert(1)>"


def sign_in(page, gateway, path=""):
    page.goto(f"{gateway.url}/ui/{path}")
    page.get_by_label("Admin key").fill(ADMIN_KEY)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("nav[aria-label=Pages]")


def add_provider(page, gateway, name, models=("mock-large",)):
    page.goto(f"{gateway.url}/ui/providers/new")
    page.get_by_label("Name, which logs").fill(name)
    page.get_by_label("Base URL").fill(f"{gateway.mock}/v1")
    page.get_by_label("API key").fill("sk-upstream")
    for model in models:
        page.get_by_role("button", name="Add a model").click()
        page.get_by_label("Name that clients send").last.fill(model)
    page.get_by_role("button", name="Add the provider").click()
    page.wait_for_url(re.compile(r"/ui$"))


def create_key(page, gateway, name, group=""):
    page.goto(f"{gateway.url}/ui/keys/new")
    page.get_by_label("Name, which logs").fill(name)
    page.get_by_label("Group", exact=True).fill(group)
    page.get_by_role("button", name="Create the key").click()
    key = page.locator("#new-key code")
    expect(key).to_have_text(re.compile("^sk-"))
    return key.inner_text()


def create_group(page, gateway, name, parent=""):
    page.goto(f"{gateway.url}/ui/groups/new")
    page.get_by_label("Name, which never").fill(name)
    page.get_by_label("Group that it belongs to").fill(parent)
    saved(page, "Create the group")
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def open_row(page, gateway, kind, name):
    """Opens the page of a row by its list."""
    page.goto(f"{gateway.url}/ui/{kind}")
    page.get_by_role("rowheader").get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def saved(page, button="Save"):
    """Saves a form and waits for the page with the new values."""
    with page.expect_navigation():
        page.get_by_role("button", name=button, exact=True).click()


def admin(gateway, method, path, body=None):
    """Asks the admin interface, past the page."""
    request = urllib.request.Request(
        f"{gateway.url}/admin/v1{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        text = response.read()
    return json.loads(text) if text else None


def chat(gateway, key, model="mock-large", **fields):
    """Sends a request as a client does, and returns its response."""
    body = {"model": model, "max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}], **fields}
    request = urllib.request.Request(
        f"{gateway.url}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def picture(page, name):
    if where := os.environ.get("SCREENSHOTS"):
        Path(where).mkdir(parents=True, exist_ok=True)
        for scheme in ["light", "dark"]:
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=f"{where}/{(name or 'overview').replace('/', '-')}-{scheme}.png", full_page=True)
