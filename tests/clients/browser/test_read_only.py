"""With a configuration file the page changes nothing, and says so, whichever key has signed in."""

import json
from pathlib import Path

import pytest
from browsing import PAGES, chat, picture
from playwright.sync_api import expect
from stack import ADMIN_KEY, Gateway

READ_KEY = "the-read-only-key-of-the-tests"
CLIENT_KEY = "sk-from-the-file"


class FromAFile(Gateway):
    def __init__(self):
        super().__init__()
        self.mock = self._listening("mock", "--port", "0")
        config = {
            "providers": [
                {"provider_key": "own", "api_base": f"{self.mock}/v1", "api_key": "sk-up", "model_mapping": {"mock-*": "mock-*"}}
            ],
            "credentials": [{"name": "alice", "key": CLIENT_KEY}],
        }
        file = Path(self._dir.name) / "gateway.yaml"
        # JSON is YAML.
        file.write_text(json.dumps(config))
        self._env |= {"CONFIG_FILE": str(file), "ADMIN_READ_KEY": READ_KEY}
        self.url = self.serve()


@pytest.fixture
def gateway():
    gateway = FromAFile()
    yield gateway
    gateway.stop()


@pytest.mark.parametrize("key", [ADMIN_KEY, READ_KEY])
def test_every_page_says_why_it_changes_nothing(page, gateway, key):
    page.goto(f"{gateway.url}/ui")
    page.get_by_label("Admin key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("nav[aria-label=Pages]")
    assert chat(gateway, CLIENT_KEY)["model"] == "mock-large"
    for path in [*PAGES, "providers/1", "keys/1"]:
        page.goto(f"{gateway.url}/ui/{path}")
        expect(page.locator("main .notice", has_text="Read-only: the configuration is the file")).to_contain_text("gateway.yaml")
        # Nothing is there that would be refused: no button for a change, and no link to a new row.
        for name in ["Save", "Remove", "Disable", "Enable", "Make a new key", "Add the provider", "Create the key"]:
            expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
        new = page.locator("main a[href$='/new'], main a[href*='/new?'], main a[href='/ui/prices/edit']")
        assert new.count() == 0, f"{path}: {new.first.inner_text()}"
        for control in page.locator("main form[data-version] :is(input, select, textarea)").all():
            expect(control).to_be_disabled()
    picture(page, "read-only")
