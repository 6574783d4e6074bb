"""Claude Code, which speaks Messages, through providers that do not."""

import base64
import json

import pytest

from reading import calls, images, reasoning, results, tools
from upstream import PIXEL, THOUGHT, Call

NOTES = 'One line.\nAnother, with "quotes", a \\backslash and an é.\n'
LAST = 'Both are done, and the picture is "tiny".'

# Tool messages of Chat hold text alone, so the picture follows them.
PICTURE_AT = {"chat": "user", "responses": "function_call_output"}

# What a provider of the format cannot do of what is asked. Templates of vLLM take a system message
# at the head alone.
LOSSES = {
    "chat": {"context_management", "system", "tool_result.image"},
    "responses": {"context_management"},
}


@pytest.mark.parametrize("format", ["chat", "responses"])
def test_it_writes_runs_and_looks(format, claude, trial, tmp_path):
    notes, picture = tmp_path / "work" / "notes.txt", tmp_path / "work" / "pixel.png"
    write = Call("Write", {"file_path": str(notes), "content": NOTES})
    run = Call("Bash", {"command": "echo from the $((40 + 2))nd shell", "description": "Say something"})
    look = Call("Read", {"file_path": str(picture)})
    agent = trial(format, [write, run], look, LAST)
    picture.write_bytes(base64.b64decode(PIXEL))

    said = agent.run(
        *[claude, "-p", "Write the notes, run the command, look at the picture.", "--model", "claude-opus-5"],
        *["--output-format", "json", "--dangerously-skip-permissions"],
        ANTHROPIC_BASE_URL=agent.url,
        ANTHROPIC_API_KEY=agent.key,
        # As root it would refuse to skip permissions.
        IS_SANDBOX="1",
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
        DISABLE_TELEMETRY="1",
        DISABLE_ERROR_REPORTING="1",
        DISABLE_AUTOUPDATER="1",
    )

    answer = json.loads(said)
    assert (answer["result"], answer["is_error"]) == (LAST, False)
    assert notes.read_text() == NOTES
    # 12000, 12200 and 12400 tokens went in; Anthropic counts the cached ones apart.
    usage = answer["usage"]
    assert usage["input_tokens"] + usage["cache_read_input_tokens"] == 36_600
    assert usage["output_tokens"] == 162

    first, second, third = agent.upstream.seen
    assert {"Bash", "Edit", "Read", "Write"} <= set(tools(format, first))
    assert calls(format, second) == {"call_1": (write.name, write.arguments), "call_2": (run.name, run.arguments)}
    assert "File created" in results(format, second)["call_1"]
    assert results(format, second)["call_2"] == "from the 42nd shell"
    assert (images(format, second), images(format, third)) == ([], [PICTURE_AT[format]])
    assert reasoning(format, third) == [THOUGHT[format]]
    for body in agent.upstream.seen:
        # It changes with each request, so that no provider could cache anything.
        assert "x-anthropic-billing-header" not in json.dumps(body)
        assert "cache_control" not in json.dumps(body)
    assert (agent.losses(), agent.repairs()) == (LOSSES[format], set())
