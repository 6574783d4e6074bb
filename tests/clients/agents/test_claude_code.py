"""Claude Code, which speaks Messages, through providers that do not."""

import base64
import json

import pytest

from reading import calls, images, reasoning, results, tools
from upstream import Call

NOTES = "One line.\nAnother, with \"quotes\", a \\backslash and an é.\n"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
LAST = "Both are done, and the picture is \"tiny\"."


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
        IS_SANDBOX="1",  # it would refuse to skip permissions as root
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
        DISABLE_TELEMETRY="1",
        DISABLE_ERROR_REPORTING="1",
        DISABLE_AUTOUPDATER="1",
    )

    answer = json.loads(said)
    assert (answer["result"], answer["is_error"]) == (LAST, False)
    assert notes.read_text() == NOTES
    print(agent.losses(), agent.repairs())
    import json as j
    j.dump(agent.upstream.seen, open(f"/tmp/cl/seen-claude-{format}.json","w"), indent=1)
