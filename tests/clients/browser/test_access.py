"""What those need who read by ear or move by keyboard: axe finds nothing on any page, light or dark."""

import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from browsing import PAGES, add_provider, admin, chat, create_key, sign_in
from playwright.sync_api import expect

AXE = AXE_FILE_PATH.read_text()
# Everything that axe knows but its experiments.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def findings(page):
    page.evaluate(AXE)
    found = page.evaluate("rules => axe.run(document, rules)", RULES)
    assert found["passes"], "axe has looked at nothing"
    return [f"{one['id']}: {one['help']}: {node['html']}" for one in found["violations"] for node in one["nodes"]]


def fill(page, gateway):
    """A row of each kind, and a request."""
    add_provider(page, gateway, "own")
    key = create_key(page, gateway, "alice")
    admin(gateway, "POST", "/groups", {"name": "research"})
    admin(gateway, "POST", "/models", {"name": "smart", "members": ["mock-large", {"model": "nobody", "priority": 1}]})
    budget = {"name": "daily", "scope": "credential", "subject": "alice", "amount": 1000, "unit": "tokens", "warn_at": [1]}
    admin(gateway, "POST", "/budgets", budget)
    chat(gateway, key)
    page.goto(f"{gateway.url}/ui/logs")
    page.get_by_label("Follow").check()
    expect(page.locator("#live tbody tr")).to_have_count(1, timeout=15000)
    return key


def test_axe_finds_nothing(page, gateway):
    page.goto(f"{gateway.url}/ui/sign-in")
    found = {"sign-in": findings(page)}
    sign_in(page, gateway)
    found["first visit"] = findings(page)
    fill(page, gateway)
    details = ["providers/1", "keys/1", "groups/1", "models/1", "budgets/1", "logs/1", "explain?model=smart", "none"]
    for path in [*PAGES, *details]:
        page.goto(f"{gateway.url}/ui/{path}")
        for fold in page.locator("main details").all():
            fold.evaluate("fold => { fold.open = true; }")
        for scheme in ["light", "dark"]:
            page.emulate_media(color_scheme=scheme)
            found[f"{path} {scheme}"] = findings(page)
    assert {name: list for name, list in found.items() if list} == {}


def test_the_playground_with_answers_passes_too(page, gateway):
    sign_in(page, gateway)
    key = fill(page, gateway)
    page.goto(f"{gateway.url}/ui/playground")
    page.get_by_label("Key of an application").fill(key)
    page.get_by_label("Second model").fill("unknown")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("[data-part=facts]").first).to_contain_text("ended after")
    expect(page.locator("[data-part=error]").last).to_be_visible()
    for scheme in ["light", "dark"]:
        page.emulate_media(color_scheme=scheme)
        assert findings(page) == []


@pytest.mark.parametrize("width", [390, 820])
def test_a_narrow_window_scrolls_no_page(page, gateway, width):
    sign_in(page, gateway)
    fill(page, gateway)
    page.set_viewport_size({"width": width, "height": 800})
    for path in [*PAGES, "providers/1", "keys/1", "budgets/1", "models/1", "logs/1"]:
        page.goto(f"{gateway.url}/ui/{path}")
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path} is {wide} pixels wider than a window of {width}"


def test_the_keyboard_reaches_the_content_first(page, gateway):
    sign_in(page, gateway)
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the content")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")
