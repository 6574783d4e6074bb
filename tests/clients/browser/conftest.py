"""A gateway on an empty store beside a provider without a model, and a page in Debian's Chromium."""

import os

import pytest
from playwright.sync_api import sync_playwright
from stack import Gateway

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")


@pytest.fixture
def gateway():
    gateway = Gateway()
    # What is remembered of providers is on the page.
    gateway._env["ADAPTIVE_ROUTING_ENABLED"] = "true"
    gateway.mock = gateway._listening("mock", "--port", "0")
    gateway.url = gateway.serve()
    yield gateway
    gateway.stop()


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(gateway, browser):
    """A page that must neither fail nor send a request to anywhere but the gateway."""
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    page.faults, page.outside = [], []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda message: page.faults.append(message.text) if "Content Security Policy" in message.text else None)
    context.on("request", lambda request: page.outside.append(request.url) if not request.url.startswith(gateway.url) else None)
    page.on("dialog", lambda dialog: dialog.accept())
    yield page
    assert page.faults == [] and page.outside == []
    context.close()
