"""What was spent, as an operator reads it, and the key of an application, as one replaces it."""

import csv
import time
import urllib.error
import urllib.request
from datetime import datetime, timezone

import pytest
from browsing import add_provider, admin, chat, create_group, create_key, open_row, picture, sign_in
from playwright.sync_api import expect

COLUMNS = ["requests", "errors", "input_tokens", "output_tokens"]


def reported(gateway, query, is_complete, before=lambda: None, seconds=60):
    """The rows of a report, once they are complete; `before` runs before each look at them."""
    until = time.monotonic() + seconds
    while True:
        before()
        rows = admin(gateway, "GET", f"/spend?{query}")["rows"]
        if is_complete(rows):
            return rows
        assert time.monotonic() < until, rows
        time.sleep(0.1)


def requests(rows):
    return sum(row["requests"] for row in rows)


def shown(page):
    """The table of the page: for each name its numbers as they are written, and last that of the sums."""
    lines = page.locator("main table tr").filter(has=page.locator("td"))
    cells = [line.locator("th, td").all_inner_texts() for line in lines.all()]
    return {name: numbers[:5] for name, *numbers in cells}


def test_spend_is_shown_by_each_dimension_and_as_a_file(page, gateway):
    sign_in(page, gateway, "spend")
    expect(page.get_by_text("No request in this time.")).to_be_visible()
    add_provider(page, gateway, "own", ["mock-large", "mock-small"])
    price = {"model": "mock-large", "input": 1000, "output": 3000}
    admin(gateway, "POST", "/prices", price)
    create_group(page, gateway, "company")
    create_group(page, gateway, "research", parent="company")
    keys = {name: create_key(page, gateway, name, group) for name, group in [("=alice", "research"), ("bob", "")]}
    # A price is in force within seconds.
    first = create_key(page, gateway, "first")
    is_priced = lambda rows: any(row["cost"] > 0 for row in rows)
    earlier = []
    reported(gateway, "by=credential", is_priced, lambda: earlier.append(chat(gateway, first)))
    usage = [chat(gateway, keys["=alice"])["usage"] for _ in range(2)]
    chat(gateway, keys["bob"])
    chat(gateway, keys["bob"], model="mock-small")
    total = len(earlier) + 4
    rows = reported(gateway, "by=credential", lambda rows: requests(rows) == total)
    by_key, unpriced = {row["group"]: row for row in rows}, sum(row["unpriced"] for row in rows)
    assert unpriced >= 1
    page.goto(f"{gateway.url}/ui/spend")
    lines = shown(page)
    tokens_in, tokens_out = (sum(one[name] for one in usage) for name in ("prompt_tokens", "completion_tokens"))
    cost = (tokens_in * price["input"] + tokens_out * price["output"]) / 1e6
    assert lines["=alice"] == ["2", "0", str(tokens_in), str(tokens_out), f"${cost:.4f}"], lines
    assert lines["bob"][:2] == ["2", "0"]
    assert lines["All of these"][0] == str(total)
    expect(page.get_by_text(f"Requests without a known price, which cost nothing here: {unpriced}.")).to_be_visible()
    assert {name: lines[name][:4] for name in keys} == {
        name: [str(by_key[name][column]) for column in COLUMNS] for name in keys
    }
    picture(page, "spend-by-key")

    today = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    for by, expected in [
        ("model", {"mock-large": str(total - 1), "mock-small": "1"}),
        ("provider", {"own": str(total)}),
        ("group", {"research": "2", "company": "2", "(none)": str(total - 2)}),
    ]:
        page.locator("select[name=by]").select_option(by)
        page.get_by_role("button", name="Show").click()
        expect(page.locator("thead th").first).to_have_text(by.capitalize())
        lines = shown(page)
        assert {name: lines[name][0] for name in expected} == expected, lines
    page.locator("select[name=by]").select_option("day")
    page.locator("input[name=credential_name]").fill("bob")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    assert [(name[:10], numbers[0]) for name, numbers in shown(page).items()][0] == (today, "2")

    # The file has the same rows, and a name that begins as a formula is text in a spreadsheet.
    page.goto(f"{gateway.url}/ui/spend?by=credential")
    with page.expect_download() as started:
        page.get_by_role("link", name="CSV").click()
    with open(started.value.path(), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["credential"]: row["requests"] for row in rows} == {"'=alice": "2", "bob": "2", "first": str(len(earlier))}

    # From a sum to the requests that it is made of.
    page.locator("tbody").get_by_role("link", name="=alice").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Logs")
    expect(page.get_by_role("rowgroup").last.get_by_role("row")).to_have_count(2)


def test_a_key_is_replaced_while_the_former_is_still_valid(page, gateway):
    sign_in(page, gateway)
    add_provider(page, gateway, "own")
    former = create_key(page, gateway, "alice")
    open_row(page, gateway, "keys", "alice")
    page.get_by_label("Seconds for which").fill("soon")
    page.get_by_role("button", name="Make a new key").click()
    expect(page.locator(".outcome.bad").filter(has_text="overlap_secs")).to_be_visible()
    page.get_by_label("Seconds for which").fill("3600")
    page.get_by_role("button", name="Make a new key").click()
    present = page.locator("#new-key code")
    expect(present).not_to_be_empty()
    picture(page, "key-rotated")
    present = present.inner_text()
    assert present != former
    for key in (former, present):
        chat(gateway, key)
    page.reload()
    expect(page.locator("#new-key")).to_be_hidden()
    assert present not in page.content()
    until = admin(gateway, "GET", "/credentials?search=alice")["credentials"][0]["previous_key_until"]
    expect(page.locator(".facts")).to_contain_text(until[:16].replace("T", " "))
    # Without an overlap the former key ends at once, and the one before it had ended with the rotation.
    page.get_by_label("Seconds for which").fill("0")
    page.get_by_role("button", name="Make a new key").click()
    expect(page.locator("#new-key code")).not_to_be_empty()
    last = page.locator("#new-key code").inner_text()
    chat(gateway, last)
    for key in (former, present):
        with pytest.raises(urllib.error.HTTPError) as refused:
            chat(gateway, key)
        assert refused.value.code == 401
    page.goto(f"{gateway.url}/ui/audit")
    expect(page.get_by_text("credential.rotate").first).to_be_visible()
    assert not any(key in page.content() for key in (former, present, last))
