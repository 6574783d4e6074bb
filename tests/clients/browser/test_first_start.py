"""The first start on a terminal: a key is made, and a link signs in from this machine alone."""

import os
import pty
import re
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from browsing import add_provider, create_key, picture
from playwright.sync_api import expect
from stack import BINARY, Gateway

LINK = re.compile(rb"Sign in on this machine: (http://127\.0\.0\.1:\d+/ui/sign-in#(\S+))")


class FirstStart(Gateway):
    """A gateway without ADMIN_KEY, on a terminal of its own."""

    def __init__(self):
        super().__init__()
        del self._env["ADMIN_KEY"]
        self.mock = self._listening("mock", "--port", "0")

    def serve_on_a_terminal(self):
        ours, theirs = pty.openpty()
        command = [BINARY, "serve", "--host", "0.0.0.0", "--port", "0"]
        process = subprocess.Popen(command, env=self._env, cwd=self._dir.name, stdin=theirs, stdout=theirs, stderr=theirs)
        self._processes.append(process)
        os.close(theirs)
        said = b""
        while not (found := LINK.search(said)):
            said += os.read(ours, 4096)
        return found[1].decode(), found[2].decode()

    @property
    def key_file(self):
        return Path(self._env["DATA_DIR"]) / "admin.key"


@pytest.fixture
def gateway():
    gateway = FirstStart()
    gateway.link, gateway.key = gateway.serve_on_a_terminal()
    gateway.url = gateway.link.split("/ui")[0]
    yield gateway
    gateway.stop()


def own_address():
    """An address of this machine that is no loopback; None without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return probe.getsockname()[0]


def status(url, key):
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {key}"})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_link_leads_from_an_empty_store_to_a_first_answer(page, gateway):
    page.goto(gateway.link)
    expect(page.get_by_text("Three steps to the first answer")).to_be_visible()
    assert gateway.key not in page.url
    page.get_by_role("link", name="Add a provider").click()
    add_provider(page, gateway, "own")
    expect(page.get_by_text("Done.")).to_be_visible()
    picture(page, "first-steps")
    create_key(page, gateway, "first")
    page.get_by_role("link", name="Try it in the playground").click()
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("[data-part=text]")).to_contain_text("The mock upstream answers")


def test_the_key_is_kept_and_is_for_this_machine_alone(gateway):
    assert gateway.key_file.stat().st_mode & 0o777 == 0o600
    assert gateway.key_file.read_text().strip() == gateway.key
    assert status(f"{gateway.url}/admin/v1/providers", gateway.key) == 200
    assert status(f"{gateway.url}/admin/v1/providers", "wrong") == 401
    if address := own_address():
        elsewhere = gateway.url.replace("127.0.0.1", address)
        assert status(f"{elsewhere}/health", "") == 200
        assert status(f"{elsewhere}/admin/v1/providers", gateway.key) == 503
        assert status(f"{elsewhere}/ui/session", gateway.key) in (405, 503)
    first = gateway._processes.pop()
    first.terminate()
    first.wait(30)
    # The next start has the same key, with a terminal or without.
    url = gateway.serve()
    assert status(f"{url}/admin/v1/providers", gateway.key) == 200


def test_without_a_terminal_no_key_is_made():
    gateway = FirstStart()
    try:
        url = gateway.serve()
        assert status(f"{url}/admin/v1/providers", "any") == 503
        assert not gateway.key_file.exists()
    finally:
        gateway.stop()
