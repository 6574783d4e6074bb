"""The operator's page in Debian's Chromium: from an empty store to a first answer, and each page."""

import re

from browsing import MARKUP, PAGES, add_provider, chat, create_key, picture, sign_in
from playwright.sync_api import expect
from stack import ADMIN_KEY


def test_first_run_to_first_answer(page, gateway):
    page.goto(f"{gateway.url}/ui")
    page.get_by_label("Admin key").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("Invalid admin key")
    picture(page, "sign-in")
    sign_in(page, gateway)
    expect(page.get_by_text("Three steps to the first answer")).to_be_visible()
    picture(page, "first-visit")
    add_provider(page, gateway, "own")
    create_key(page, gateway, MARKUP)
    page.get_by_role("link", name="Try it in the playground").click()
    for format in ["chat", "messages", "responses"]:
        page.get_by_label("Format", exact=True).select_option(format)
        page.get_by_role("button", name="Send", exact=True).click()
        expect(page.locator("[data-part=text]")).to_contain_text("The mock upstream answers")
        expect(page.locator("[data-part=facts]")).to_contain_text("ended after")
    picture(page, "playground-answer")
    page.goto(f"{gateway.url}/ui/logs")
    page.get_by_label("Follow").check()
    expect(page.locator("#live tbody tr")).to_have_count(3, timeout=15000)
    expect(page.locator("#live")).to_contain_text(MARKUP)
    page.locator("#live tbody a").first.click()
    expect(page.get_by_role("heading", name="As curl")).to_be_visible()
    picture(page, "request")
    for path in PAGES:
        page.goto(f"{gateway.url}/ui/{path}")
        expect(page.locator("h1")).to_be_visible()
        picture(page, path)


def test_edit_conflict_and_disable(page, gateway):
    sign_in(page, gateway)
    create_key(page, gateway, "team-a")
    page.goto(f"{gateway.url}/ui/keys")
    page.get_by_role("link", name="team-a").click()
    other = page.context.new_page()
    other.goto(page.url)
    for tab, limit in [(other, "7"), (page, "8")]:
        tab.get_by_label("Requests per second").fill(limit)
        tab.get_by_role("button", name="Save").click()
        if tab is other:
            expect(tab.get_by_label("Requests per second")).to_have_value("7")
            tab.wait_for_load_state("networkidle")
    expect(page.locator("form .outcome.bad").first).to_contain_text("If-Match")
    page.reload()
    expect(page.get_by_label("Requests per second")).to_have_value("7")
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_role("button", name="Enable")).to_be_visible()
    page.get_by_label("Requests per second").fill("many")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("form .outcome.bad").first).to_have_text("rate_limit must be a whole number, not many")
    page.get_by_role("button", name="Make a new key").click()
    expect(page.locator("#new-key code")).to_have_text(re.compile("^sk-"))


def test_signed_out_is_out(page, gateway):
    sign_in(page, gateway, "keys")
    assert page.url.endswith("/ui/keys")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(re.compile("sign-in"))
    page.goto(f"{gateway.url}/ui/audit")
    expect(page.get_by_label("Admin key")).to_be_visible()


def test_a_lost_connection_is_shown_and_recovers(page, gateway):
    sign_in(page, gateway, "logs")
    banner = page.locator("#connection")
    expect(banner).to_be_hidden()
    page.context.set_offline(True)
    expect(banner).to_be_visible(timeout=20000)
    page.context.set_offline(False)
    expect(banner).to_be_hidden(timeout=20000)


def test_a_session_that_ends_keeps_what_was_entered(page, gateway):
    sign_in(page, gateway, "keys/new")
    page.get_by_label("Name, which logs").fill("late")
    page.context.clear_cookies()
    page.get_by_role("button", name="Create the key").click()
    notice = page.locator("#session")
    expect(notice).to_be_visible()
    expect(page.locator("form .outcome.bad").first).to_contain_text("session has ended")
    with page.context.expect_page() as opened:
        notice.get_by_role("link").click()
    other = opened.value
    other.get_by_label("Admin key").fill(ADMIN_KEY)
    other.get_by_role("button", name="Sign in").click()
    other.wait_for_selector("nav[aria-label=Pages]")
    expect(page.get_by_label("Name, which logs")).to_have_value("late")
    page.get_by_role("button", name="Create the key").click()
    expect(page.locator("#new-key code")).to_have_text(re.compile("^sk-"))
    expect(notice).to_be_hidden()


def test_a_list_that_follows_says_when_the_session_has_ended(page, gateway):
    sign_in(page, gateway, "logs")
    page.get_by_label("Follow").check()
    page.context.clear_cookies()
    expect(page.locator("#session")).to_be_visible(timeout=15000)
    expect(page.locator("#live")).to_be_visible()


def test_settings_of_clients_are_for_this_gateway_and_copied(page, gateway):
    sign_in(page, gateway)
    add_provider(page, gateway, "own", ["mock-small", "mock-*"])
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{gateway.url}/ui/connect")
    code = page.locator(".code code")
    expect(code).to_contain_text(gateway.url)
    expect(code).to_contain_text("mock-small")
    page.locator("[data-copy]").click()
    expect(page.locator("[data-copy]")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == code.text_content()


def test_charts_have_their_numbers_in_tables(page, gateway):
    sign_in(page, gateway)
    add_provider(page, gateway, "own")
    key = create_key(page, gateway, "alice")
    page.goto(f"{gateway.url}/ui")
    expect(page.get_by_text("Three steps to the first answer")).to_be_visible()
    chat(gateway, key)
    page.goto(f"{gateway.url}/ui/logs")
    page.get_by_label("Follow").check()
    expect(page.locator("#live tbody tr")).to_have_count(1, timeout=15000)
    # A row that comes while the list follows is marked, and the focus stays where it was.
    page.locator("#live tbody a").focus()
    focused = page.evaluate("document.activeElement.href")
    chat(gateway, key)
    expect(page.locator("#live tr.fresh")).to_have_count(1, timeout=15000)
    expect(page.locator("#live tbody tr")).to_have_count(2)
    assert page.evaluate("document.activeElement.href") == focused
    for period in ["24h", "7d"]:
        page.goto(f"{gateway.url}/ui?period={period}")
        expect(page.get_by_text("Three steps to the first answer")).to_have_count(0)
        for title, columns in [
            ("Requests", ["answered", "failed"]),
            ("Duration", ["median", "99 %"]),
            ("Time to the first token", ["median", "99 %"]),
            ("Tokens", ["input", "output"]),
            ("Cost", ["dollars"]),
        ]:
            chart = page.locator("figure", has=page.get_by_text(title, exact=True))
            chart.get_by_text("Table").click()
            expect(chart.locator("thead th")).to_have_text(["Time (UTC)", *columns])
            cells = chart.locator("tbody td:nth-child(2)").all_inner_texts()
            if title == "Requests":
                assert sum(int(cell) for cell in cells) == 2
            if title == "Duration":
                assert all(re.fullmatch(r"\d+(\.\d+)?\sm?s", cell) for cell in cells), cells
