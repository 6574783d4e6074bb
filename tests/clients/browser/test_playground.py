"""The playground: what is sent in each format, with tools and pictures, and to two models at a time."""

import base64
import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path

import pytest
from browsing import admin, create_key, picture, sign_in
from playwright.sync_api import expect

# One pixel.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
FORMATS = ["chat", "messages", "responses"]


@pytest.fixture
def ready(page, gateway):
    """The playground with a key, and a provider of each format for `FORMAT/...`."""
    sign_in(page, gateway)
    for name, kind, base in [("chat", "openai", "/v1"), ("messages", "anthropic", ""), ("responses", "responses", "/v1")]:
        row = {"provider_key": name, "provider_type": kind, "api_base": f"{gateway.mock}{base}", "api_key": "sk-upstream"}
        admin(gateway, "POST", "/providers", row | {"model_mapping": {f"{name}/*": "mock-*"}})
    page.key = create_key(page, gateway, "tests")
    page.goto(f"{gateway.url}/ui/playground")
    page.get_by_label("Key of an application").fill(page.key)
    return page


def last(gateway):
    """The last body that a provider got."""
    with urllib.request.urlopen(f"{gateway.mock}/__last", timeout=10) as response:
        return json.loads(json.load(response)["body"])


def send(page, format, model):
    page.get_by_label("Format", exact=True).select_option(format)
    page.get_by_label("Model", exact=True).fill(model)
    page.get_by_role("button", name="Send", exact=True).click()
    for facts in page.locator("[data-part=facts]").all():
        expect(facts).to_contain_text("ended after")


@pytest.mark.parametrize("stream", [True, False])
def test_tools_in_every_format(ready, gateway, stream):
    ready.get_by_text("Pictures, tools and other fields").click()
    ready.get_by_role("button", name="Fill in an example").click()
    ready.get_by_label("as it comes").set_checked(stream)
    for format in FORMATS:
        for model in FORMATS:
            send(ready, format, f"{model}/large")
            calls = ready.locator("[data-part=calls]")
            expect(calls).to_have_text(re.compile(r"^get_weather\(\{.*place.*\}\)$", re.DOTALL))
            assert "get_weather" in json.dumps(last(gateway)["tools"])
    picture(ready, "playground-tools")
    ready.get_by_label("Tools, as JSON").fill("[1]")
    expect(ready.locator("#playground-error")).to_have_text("The tools must be a list of objects with a name each.")


def test_pictures_in_every_format(ready, gateway, tmp_path):
    (tmp_path / "my photo.png").write_bytes(PIXEL)
    ready.get_by_text("Pictures, tools and other fields").click()
    ready.get_by_label("Pictures").set_input_files(tmp_path / "my photo.png")
    expect(ready.locator("#pictures-chosen")).to_have_text("my photo.png")
    for format in FORMATS:
        send(ready, format, f"{format}/large")
        expect(ready.locator("[data-part=text]")).to_contain_text("The mock upstream answers")
        assert base64.b64encode(PIXEL).decode() in json.dumps(last(gateway))
    expect(ready.locator("#as-python")).to_contain_text('open("my_photo.png", "rb")')
    expect(ready.locator("#as-node")).to_contain_text('readFileSync("my_photo.png")')


def test_two_models_beside_each_other_and_what_is_dropped(ready, gateway):
    ready.get_by_label("Second model").fill("messages/none")
    ready.get_by_label("System prompt").fill("Be brief.")
    send(ready, "responses", "chat/large")
    expect(ready.locator("#answers section")).to_have_count(2)
    for text in ready.locator("[data-part=text]").all():
        expect(text).to_contain_text("The mock upstream answers")
    picture(ready, "playground-two")
    # What the format of one provider cannot express is named beside its answer, and there alone.
    ready.get_by_text("Pictures, tools and other fields").click()
    ready.get_by_label("Other fields").fill('{"top_k": 5}')
    send(ready, "messages", "chat/large")
    expect(ready.locator("[data-part=dropped]").first).to_contain_text("top_k")
    expect(ready.locator("[data-part=dropped]").last).to_be_hidden()
    ready.get_by_label("Other fields").fill("5")
    expect(ready.locator("#playground-error")).to_have_text("The other fields must be an object.")
    ready.get_by_label("Other fields").fill("")
    ready.get_by_label("Second model").fill("nobody")
    send(ready, "chat", "chat/large")
    expect(ready.locator("[data-part=error]").last).to_contain_text("nobody")
    expect(ready.locator("[data-part=text]").first).to_contain_text("The mock upstream answers")


def test_all_formats_beside_each_other(ready, gateway):
    send(ready, "all", "messages/large")
    panels = ready.locator("#answers section")
    expect(panels).to_have_count(3)
    for panel, format in zip(panels.all(), ["OpenAI Chat Completions", "Anthropic Messages", "OpenAI Responses"]):
        expect(panel.get_by_role("heading")).to_have_text(f"messages/large by {format}")
        expect(panel.locator("[data-part=text]")).to_contain_text("The mock upstream answers")
        expect(panel.locator("[data-part=facts]")).to_contain_text("x-llm-proxy-provider: messages")
    for path in ["/v1/chat/completions", "/v1/messages", "/v1/responses"]:
        expect(ready.locator("#as-curl")).to_contain_text(path)
    picture(ready, "playground-formats")


@pytest.mark.parametrize("format", FORMATS)
def test_the_code_for_a_shell_is_the_request(ready, gateway, format, tmp_path):
    """As it is copied, run in a shell."""
    (tmp_path / "a.png").write_bytes(PIXEL)
    ready.get_by_label("Format", exact=True).select_option(format)
    ready.get_by_label("Model", exact=True).fill(f"{format}/large")
    ready.get_by_label("Prompt", exact=True).fill('It\'s "quoted" $HOME `id` \\ {"a": true}')
    ready.get_by_label("as it comes").uncheck()
    ready.get_by_text("Pictures, tools and other fields").click()
    ready.get_by_label("Pictures").set_input_files(tmp_path / "a.png")
    expect(ready.locator("#as-curl")).to_contain_text("a.png")
    environment = {"PATH": os.environ["PATH"], "LLM_PROXY_KEY": ready.key, "NO_PROXY": "*"}
    code = ready.locator("#as-curl").text_content()
    done = subprocess.run(["bash", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert "The mock upstream answers" in done.stdout, f"{code}\n{done.stdout}{done.stderr}"
    sent = json.dumps(last(gateway))
    assert base64.b64encode(PIXEL).decode() in sent
    assert json.dumps('It\'s "quoted" $HOME `id` \\ {"a": true}')[1:-1] in sent
    # The code for Python and JavaScript is at least source text that their parsers take.
    (tmp_path / "a.mjs").write_text(ready.locator("#as-node").text_content())
    compile(ready.locator("#as-python").text_content(), "as-python", "exec")
    if Path("/usr/bin/node").exists():
        subprocess.run(["node", "--check", tmp_path / "a.mjs"], check=True, timeout=60)
