"""Groups, budgets, virtual models and the state of providers, as an operator changes them."""

import re
import time
import urllib.error

import pytest
from browsing import add_provider, admin, chat, create_group, create_key, open_row, picture, saved, sign_in
from playwright.sync_api import expect


def create_budget(page, name, **fields):
    """On the form of a new budget."""
    page.get_by_label("Name, which refusals").fill(name)
    for label, value in fields.items():
        field = page.locator(f"#{label}")
        if label in ("scope", "unit", "period"):
            field.select_option(value)
        else:
            field.fill(value)
    saved(page, "Create the budget")
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def settled(gateway, is_settled, seconds=30):
    """The state of the only budget, once it is as it should be."""
    until = time.monotonic() + seconds
    while not is_settled(state := admin(gateway, "GET", "/budgets")["budgets"][0]["state"]):
        assert time.monotonic() < until, state
        time.sleep(0.1)
    return state


def test_groups_and_their_keys(page, gateway):
    sign_in(page, gateway, "groups")
    expect(page.get_by_role("link", name="Create the first group")).to_be_visible()
    create_group(page, gateway, "company")
    page.get_by_label("Tokens per minute").fill("2000000")
    saved(page)
    expect(page.get_by_label("Tokens per minute")).to_have_value("2000000")
    create_group(page, gateway, "research", parent="company")
    create_key(page, gateway, "alice", group="research")
    create_key(page, gateway, "bob")
    page.goto(f"{gateway.url}/ui/groups")
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.get_by_role("row", name="research")).to_contain_text("company")
    picture(page, "groups")
    page.get_by_role("row", name="research").get_by_role("link", name="keys").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody")).to_contain_text("alice")
    # A group that something belongs to stays, and the gateway says why.
    open_row(page, gateway, "groups", "research")
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.locator(".outcome.bad")).to_contain_text("has 1 key")
    # A circle is refused in the gateway's own words.
    open_row(page, gateway, "groups", "company")
    page.get_by_label("Group that it belongs to").fill("research")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("form .outcome.bad")).not_to_be_empty()
    page.reload()
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_role("button", name="Enable")).to_be_visible()
    # A key leaves its group with an empty field.
    open_row(page, gateway, "keys", "alice")
    page.get_by_label("Group", exact=True).fill("")
    saved(page)
    assert admin(gateway, "GET", "/credentials?search=alice")["credentials"][0]["group_name"] is None


def test_a_budget_from_its_first_use_to_its_reset(page, gateway):
    sign_in(page, gateway)
    add_provider(page, gateway, "own")
    key = create_key(page, gateway, "alice")
    open_row(page, gateway, "keys", "alice")
    page.get_by_role("link", name="Create a budget").click()
    expect(page.get_by_label("Name of the key")).to_have_value("alice")
    create_budget(page, "alice-daily", amount="100", unit="tokens", period="day", warn_at="20, 95")
    expect(page.locator(".facts")).to_contain_text("0 %")
    picture(page, "budget-new-window")
    chat(gateway, key)
    # What a gateway holds comes back to the store within seconds.
    state = settled(gateway, lambda state: state["spent"] > 0 and state["reserved"] == 0)
    assert 20 <= state["spent"] < 95, state
    page.reload()
    expect(page.locator("svg.usage .near")).to_be_visible()
    expect(page.locator(".facts")).to_contain_text(f"{state['spent']:.0f} tokens")
    expect(page.locator("svg.usage")).to_have_attribute("aria-label", f"{state['spent']:.0f} % spent")
    # A limit that is reached refuses, and a top-up opens it again.
    page.locator("#amount").fill(f"{state['spent']:.0f}")
    saved(page)
    expect(page.locator("svg.usage .full")).to_be_visible()
    with pytest.raises(urllib.error.HTTPError) as refused:
        chat(gateway, key)
    assert refused.value.code == 402
    page.get_by_label("Add to the amount").fill("many")
    page.get_by_role("button", name="Top up").click()
    expect(page.locator(".outcome.bad")).to_have_text("amount must be a number such as 12.50, not many")
    page.get_by_label("Add to the amount").fill("500")
    saved(page, "Top up")
    expect(page.locator(".facts")).to_contain_text("and 500 tokens more until it renews")
    chat(gateway, key)
    settled(gateway, lambda later: later["spent"] > state["spent"] and later["reserved"] == 0)
    saved(page, "Reset")
    expect(page.locator(".facts")).to_contain_text("0 tokens · 0 %")
    picture(page, "budget")
    # The budget is on the page of its key, in the list, and its changes are in the audit log.
    open_row(page, gateway, "keys", "alice")
    expect(page.get_by_role("row", name="alice-daily")).to_be_visible()
    page.goto(f"{gateway.url}/ui/budgets?scope=group")
    expect(page.get_by_text("No budget fits.")).to_be_visible()
    page.goto(f"{gateway.url}/ui/audit")
    for action in ["budget.create", "budget.top_up", "budget.reset"]:
        expect(page.get_by_text(action).first).to_be_visible()
    open_row(page, gateway, "budgets", "alice-daily")
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_role("link", name="Create the first budget")).to_be_visible()


def test_budgets_of_each_scope(page, gateway):
    sign_in(page, gateway)
    add_provider(page, gateway, "own")
    create_group(page, gateway, "research")
    create_key(page, gateway, "alice", group="research")
    for scope, subject in [("credential", "alice"), ("group", "research"), ("tag", "batch"), ("provider", "own")]:
        page.goto(f"{gateway.url}/ui/budgets/new")
        create_budget(page, f"of-{scope}", scope=scope, subject=subject, amount="25.50", time_zone="Europe/Berlin")
    budgets = admin(gateway, "GET", "/budgets")["budgets"]
    assert [(one["scope"], one["amount"], one["time_zone"]) for one in budgets] == [
        (scope, 25.5, "Europe/Berlin") for scope in ["credential", "group", "tag", "provider"]
    ]
    page.goto(f"{gateway.url}/ui/budgets")
    expect(page.locator("tbody tr")).to_have_count(4)
    picture(page, "budgets")
    for kind, name in [("providers", "own"), ("groups", "research")]:
        open_row(page, gateway, kind, name)
        expect(page.get_by_role("rowheader", name="of-")).to_have_count(1)
    # What a budget is of need not exist as a row, but its form must be complete.
    page.goto(f"{gateway.url}/ui/budgets/new")
    page.get_by_label("Name, which refusals").fill("wrong")
    page.locator("#subject").fill("alice")
    page.locator("#amount").fill("1")
    page.locator("#time_zone").fill("Mars/Olympus")
    page.get_by_role("button", name="Create the budget").click()
    expect(page.locator("form .outcome.bad")).to_contain_text("Mars/Olympus")


def test_the_price_of_a_model(page, gateway):
    sign_in(page, gateway, "prices")
    expect(page.get_by_text("These come with the program")).to_be_visible()
    page.get_by_role("link", name="Add a price").click()
    page.get_by_label("Model, a pattern").fill("mock-large")
    page.get_by_label("standard: Input").fill("1,5")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("form .outcome.bad")).to_contain_text("input must be a number such as 12.50, not 1,5")
    page.get_by_label("standard: Input").fill("1.5")
    page.get_by_label("flex: Input").fill("0.75")
    page.get_by_label("A request", exact=True).fill("0.01")
    saved(page)
    page.get_by_role("link", name="mock-large").click()
    page.get_by_label("Also for prompts").fill("200000")
    page.get_by_role("button", name="Add a row").click()
    page.get_by_label(re.compile("^over 200.000: Output")).fill("4")
    stale = page.context.new_page()
    stale.goto(page.url)
    saved(page)
    price = next(price for price in admin(gateway, "GET", "/prices?search=mock-large")["prices"] if price["model"] == "mock-large")
    more = {"input_cost_per_token_flex": 7.5e-7, "output_cost_per_token_above_200000_tokens": 4e-6, "input_cost_per_request": 0.01}
    assert (price["input"], price["more"]) == (1.5, more)
    stale.get_by_label("standard: Input").fill("9")
    stale.get_by_role("button", name="Save").click()
    expect(stale.locator("form .outcome.bad")).to_contain_text("Reload this page to see the other change")
    stale.close()
    page.goto(f"{gateway.url}/ui/prices?search=mock")
    expect(page.get_by_role("row", name="mock-large")).to_contain_text("flex, over 200")
    picture(page, "prices")
    page.get_by_role("link", name="mock-large").click()
    picture(page, "price")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Remove").click()
    page.wait_for_url(re.compile("/ui/prices$"))
    assert all(price["model"] != "mock-large" for price in admin(gateway, "GET", "/prices?size=1000")["prices"])


def test_a_virtual_model_and_who_serves_it(page, gateway):
    sign_in(page, gateway, "models")
    expect(page.get_by_role("link", name="Add the first virtual model")).to_be_visible()
    add_provider(page, gateway, "first", ["mock-large"])
    add_provider(page, gateway, "second", ["mock-small"])
    page.goto(f"{gateway.url}/ui/models/new")
    page.get_by_label("Name that clients ask for").fill("smart")
    page.get_by_label("Model", exact=True).fill("mock-large")
    page.get_by_label("Weight", exact=True).fill("3")
    page.get_by_role("button", name="Add a member").click()
    page.get_by_label("Model", exact=True).last.fill("mock-small")
    page.get_by_label("Tier", exact=True).last.fill("1")
    page.get_by_label("A content filter refused it").check()
    page.get_by_label("Other options, as JSON").fill('{"fallback_on": []}')
    page.get_by_role("button", name="Add the virtual model").click()
    expect(page.locator("form .outcome.bad")).to_contain_text("fallback_on has fields of its own in this form")
    page.get_by_label("Other options, as JSON").fill("")
    saved(page, "Add the virtual model")
    model = admin(gateway, "GET", "/models")["models"][0]
    assert model["members"] == [{"model": "mock-large", "weight": 3}, {"model": "mock-small", "priority": 1}]
    assert model["options"] == {"fallback_on": ["context_length", "content_filter"]}
    rows = page.locator("table").first.locator("tbody tr")
    expect(rows.nth(0)).to_contain_text("first")
    expect(rows.nth(1)).to_contain_text("second")
    picture(page, "model")
    page.get_by_label("At most, per cent of requests").fill("0.5")
    page.get_by_label("A slow answer").select_option("no")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("form .outcome.bad")).to_contain_text("hedge is off; leave hedge.percent empty")
    page.get_by_label("A slow answer").select_option("yes")
    page.get_by_label("A stream that breaks off").select_option("prefill")
    saved(page)
    options = admin(gateway, "GET", "/models")["models"][0]["options"]
    assert (options["hedge"], options["rescue"]) == ({"percent": 0.5}, "prefill")
    expect(page.get_by_label("At most, per cent of requests")).to_have_value("0.5")
    page.get_by_label("Model", exact=True).last.fill("nobody-has-this")
    saved(page)
    expect(page.get_by_role("row", name="nobody-has-this")).to_contain_text("no provider serves it")
    page.get_by_role("button", name="Remove this member").last.click()
    saved(page)
    page.goto(f"{gateway.url}/ui/models")
    expect(page.locator("tbody")).to_contain_text("mock-large")
    picture(page, "models")
    key = create_key(page, gateway, "narrow")
    assert chat(gateway, key, "smart")["model"] == "smart"
    page.goto(f"{gateway.url}/ui/explain")
    page.get_by_label("Model").fill("smart")
    page.get_by_label("Key").fill("narrow")
    page.get_by_label("Format of the client").select_option("messages")
    page.get_by_role("button", name="Explain").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("translated")
    picture(page, "explain")
    page.get_by_label("Key").fill("nobody")
    page.get_by_role("button", name="Explain").click()
    expect(page.get_by_role("alert").filter(has_text="nobody")).to_be_visible()
    page.goto(f"{gateway.url}/ui/explain?model=unknown")
    expect(page.get_by_text("Nobody is asked")).to_be_visible()


def test_limits_retries_and_service_of_a_provider(page, gateway):
    sign_in(page, gateway)
    add_provider(page, gateway, "own")
    add_provider(page, gateway, "other")
    open_row(page, gateway, "providers", "own")
    page.get_by_text("Limits: what it may be sent").click()
    page.get_by_label("Requests at one time").fill("8")
    page.get_by_text("Retries: how often").click()
    page.get_by_label("Attempts of one request").fill("2")
    page.get_by_label("Longest wait").fill("1.5")
    page.get_by_label("Of single models").fill('{"batch-*": {"max_wait": 30}}')
    page.get_by_label("Other parameters").fill('{"host": "vllm", "limits": {}}')
    page.get_by_role("button", name="Save").click()
    expect(page.locator("form .outcome.bad").last).to_contain_text("limits has fields of its own")
    page.get_by_label("Other parameters").fill('{"host": "vllm"}')
    saved(page)
    wanted = {"max_attempts": 2, "max_wait": 1.5, "models": {"batch-*": {"max_wait": 30}}}
    params = admin(gateway, "GET", "/providers?search=own")["providers"][0]["provider_params"]
    assert params == {"host": "vllm", "limits": {"max_concurrency": 8}, "retries": wanted}
    expect(page.get_by_label("Requests at one time")).to_have_value("8")
    page.get_by_label("Requests at one time").fill("")
    saved(page)
    params = admin(gateway, "GET", "/providers?search=own")["providers"][0]["provider_params"]
    assert params == {"host": "vllm", "retries": wanted}
    # Out of service by hand, which the lists and the explanation show.
    saved(page, "Take out of service")
    expect(page.get_by_role("row", name="account")).to_contain_text("until it is put back")
    picture(page, "provider-out")
    page.goto(f"{gateway.url}/ui/providers")
    expect(page.get_by_role("row", name="own")).to_contain_text("out of service")
    expect(page.get_by_role("row", name="other")).to_contain_text("in service")
    page.goto(f"{gateway.url}/ui/explain?model=mock-large")
    expect(page.locator("tbody tr").last).to_contain_text("administrator")
    open_row(page, gateway, "providers", "own")
    saved(page, "Put back into service")
    expect(page.get_by_role("row", name="account")).to_contain_text("closed")
    expect(page.get_by_role("button", name="Take out of service")).to_be_visible()


def test_the_changes_are_searched(page, gateway):
    sign_in(page, gateway)
    add_provider(page, gateway, "own")
    create_key(page, gateway, "alice")
    page.goto(f"{gateway.url}/ui/audit")
    rows = page.locator("main tbody tr")
    expect(rows).to_have_count(2)
    page.get_by_label("Row").fill("ALI")
    page.get_by_label("From (UTC)").fill("2020-01-31T00:00")
    page.get_by_role("button", name="Filter").click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("credential.create")
    expect(page.get_by_label("Row")).to_have_value("ALI")
    picture(page, "audit-filtered")
    page.get_by_label("Change").fill("provider")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("No change fits these filters.")).to_be_visible()
    page.get_by_role("link", name="All").click()
    expect(rows).to_have_count(2)


def test_many_candidates_have_pages_and_a_search(page, gateway):
    for at in range(60):
        row = {"provider_key": f"p-{at:02}", "api_base": f"{gateway.mock}/v1", "model_mapping": {"m": "m"}}
        admin(gateway, "POST", "/providers", row)
    sign_in(page, gateway, "explain?model=m")
    rows = page.locator("main tbody tr")
    expect(rows).to_have_count(50)
    picture(page, "explain-many")
    page.get_by_role("link", name="Next").click()
    expect(rows).to_have_count(10)
    expect(rows.first).to_contain_text("51")
    page.get_by_label("Provider", exact=True).fill("P-07")
    page.get_by_role("button", name="Explain").click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("p-07")
