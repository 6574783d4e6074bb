"""Codex, which speaks Responses, through providers that do not."""

import base64

import pytest

from reading import calls, images, reasoning, results, tools
from test_claude_code import PIXEL
from upstream import Call

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
LAST = "The story is \"brighter\" now."

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
    print(agent.losses(), agent.repairs())
    import json as j
    j.dump(agent.upstream.seen, open(f"/tmp/cl/seen-codex-{format}.json","w"), indent=1)
