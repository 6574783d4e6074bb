"""Logs: finding a request by its key, tag, session or error, and everything that is known of one."""

import os
import subprocess

import pytest
from browsing import admin, create_key, picture, sign_in
from playwright.sync_api import expect
from stack import Gateway


@pytest.fixture
def gateway():
    gateway = Gateway()
    gateway._env |= {"REQUEST_LOG_BODY_ENABLED": "true"}
    gateway.mock = gateway._listening("mock", "--port", "0")
    gateway.url = gateway.serve()
    yield gateway
    gateway.stop()


def send(page, gateway, key, body, headers=()):
    """From the page, so that nothing else is needed for a request with any headers."""
    script = """async ([path, key, body, headers]) => {
        const all = { authorization: `Bearer ${key}`, "content-type": "application/json", ...headers };
        return (await fetch(path, { method: "POST", headers: all, body: JSON.stringify(body) })).status;
    }"""
    path = "/v1/messages" if "top_k" in body else "/v1/chat/completions"
    return page.evaluate(script, [path, key, body, dict(headers)])


@pytest.fixture
def logged(page, gateway):
    """Three requests: one that fell back and lost a field, one that failed, one without marks."""
    sign_in(page, gateway)
    mapping = {"mock-large": "mock-large", "mock-500": "mock-500"}
    row = {"provider_type": "openai", "api_base": f"{gateway.mock}/v1", "api_key": "sk-upstream", "model_mapping": mapping}
    admin(gateway, "POST", "/providers", row | {"provider_key": "own"})
    admin(gateway, "POST", "/models", {"name": "smart", "members": ["mock-500", {"model": "mock-large", "priority": 1}]})
    key = create_key(page, gateway, "alice")
    said = [{"role": "user", "content": "It's <b>here</b>"}]
    marks = {"x-claude-code-session-id": "session-1", "x-llm-proxy-tags": "nightly,batch"}
    assert send(page, gateway, key, {"model": "smart", "max_tokens": 20, "top_k": 5, "messages": said}, marks) == 200
    assert send(page, gateway, key, {"model": "mock-500", "messages": said}) >= 500
    assert send(page, gateway, key, {"model": "mock-large", "messages": said}, {"x-llm-proxy-tags": "day"}) == 200
    page.goto(f"{gateway.url}/ui/logs")
    page.get_by_label("Follow").check()
    expect(page.locator("#live tbody tr")).to_have_count(3, timeout=15000)
    page.key = key
    return page


def found(page, **filters):
    """How many requests there are with these filters."""
    page.get_by_role("main").get_by_role("link", name="All", exact=True).click() if "?" in page.url else None
    for name, value in filters.items():
        page.locator(f"[name={name}]").fill(value)
    page.get_by_role("button", name="Filter").click()
    return page.locator("#live tbody tr").count()


def test_requests_are_found_by_what_is_known_of_them(logged, gateway):
    page = logged
    page.goto(f"{gateway.url}/ui/logs")
    assert found(page, session="session-1") == 1
    assert found(page, tag="batch") == 1
    assert found(page, tag="nightly") == 1
    assert found(page, tag="night") == 0
    assert found(page, tag="%") == 0
    message = admin(gateway, "GET", "/logs?model=mock-500")["items"][0]["error_message"]
    assert found(page, error=message[3:20].upper()) == 1
    assert found(page, error="100%") == 0
    assert found(page, credential_name="alice", tag="day") == 1
    assert found(page, credential_name="bob") == 0


def test_one_request_with_everything_that_is_known(logged, gateway):
    page = logged
    page.goto(f"{gateway.url}/ui/logs?session=session-1")
    page.locator("#live tbody a").first.click()
    facts = page.locator("dl.facts")
    for text in ["session-1", "batch", "nightly", "top_k", "stop"]:
        expect(facts).to_contain_text(text)
    clock = page.get_by_role("heading", name="Where the time went")
    expect(clock).to_be_visible()
    for stage in ["Checking the key", "Preparing the provider's request", "Waiting for the provider"]:
        expect(page.get_by_role("rowheader", name=stage)).to_be_visible()
    attempts = page.get_by_role("heading", name="Attempts", exact=True).locator("xpath=following-sibling::div[1]//tbody/tr")
    expect(attempts).to_have_count(2)
    expect(attempts.nth(0)).to_contain_text("500")
    expect(attempts.nth(1)).to_contain_text("200")
    expect(page.get_by_role("heading", name="Failed attempts")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("<b>here</b>")
    picture(page, "request-trace")
    code = page.locator("h2:has-text('As curl') + .code code").text_content()
    environment = {"PATH": os.environ["PATH"], "LLM_PROXY_KEY": page.key, "NO_PROXY": "*"}
    done = subprocess.run(["bash", "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert "The mock upstream answers" in done.stdout, f"{code}\n{done.stdout}{done.stderr}"
    page.get_by_role("link", name="nightly").click()
    expect(page.locator("#live tbody tr")).to_have_count(1)
