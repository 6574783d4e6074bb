"""Codex, which speaks Responses, through providers that do not."""

import base64

import pytest

from reading import calls, images, reasoning, results, tools
from upstream import PIXEL, THOUGHT, Call

STORY = "It was a dark night.\nThe end.\n"
PATCH = """*** Begin Patch
*** Update File: story.txt
@@
-It was a dark night.
+It was a "bright" morning, é\\n.
 The end.
*** End Patch
"""
PATCHED = 'It was a "bright" morning, é\\n.\nThe end.\n'
LAST = 'The story is "brighter" now.'

PICTURE_AT = {"chat": "user", "messages": "tool_result"}

# What a provider of the format cannot do of what is asked. `unknown` is `client_metadata`, which
# Codex alone knows.
LOSSES = {
    "chat": {"tool_result.image", "tools.server", "tools.tool_search", "unknown", "verbosity"},
    "messages": {"tools.tool_search", "unknown", "verbosity"},
}

CONFIG = """
model = "gpt-5.5"
model_provider = "gateway"
check_for_update_on_startup = false

[analytics]
enabled = false

[model_providers.gateway]
name = "gateway"
base_url = "{url}/v1"
env_key = "GATEWAY_KEY"
wire_api = "responses"
"""


@pytest.mark.parametrize("format", ["chat", "messages"])
def test_it_runs_looks_and_patches(format, codex, trial, tmp_path):
    story, picture = tmp_path / "work" / "story.txt", tmp_path / "work" / "pixel.png"
    run = Call("exec_command", {"cmd": "cat story.txt"})
    look = Call("view_image", {"path": str(picture)})
    patch = Call("apply_patch", {"input": PATCH})
    agent = trial(format, [run, look], patch, LAST)
    story.write_text(STORY)
    picture.write_bytes(base64.b64decode(PIXEL))
    settings = agent.home / ".codex"
    settings.mkdir()
    (settings / "config.toml").write_text(CONFIG.format(url=agent.url))

    said = agent.run(
        *[codex, "exec", "--skip-git-repo-check", "--sandbox", "danger-full-access", "Make the story brighter."],
        GATEWAY_KEY=agent.key,
    )

    assert said.strip() == LAST
    assert story.read_text() == PATCHED

    first, second, third = agent.upstream.seen
    offered = tools(format, first)
    assert {"exec_command", "view_image", "apply_patch"} <= set(offered)
    # A freeform tool is a function with one string there, whose description holds the grammar.
    schema = offered["apply_patch"]["parameters" if format == "chat" else "input_schema"]
    assert schema["required"] == ["input"] and "begin_patch" in schema["properties"]["input"]["description"]
    assert calls(format, second) == {"call_1": (run.name, run.arguments), "call_2": (look.name, look.arguments)}
    assert STORY in results(format, second)["call_1"]
    assert images(format, second) == [PICTURE_AT[format]]
    assert calls(format, third)["call_3"] == ("apply_patch", {"input": PATCH})
    assert "M story.txt" in results(format, third)["call_3"]
    assert reasoning(format, third) == [THOUGHT[format]]
    assert (agent.losses(), agent.repairs()) == (LOSSES[format], set())
