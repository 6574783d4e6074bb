"""An agent as people run it, a gateway, and a provider of another format that plays a script."""

import os
import re
import subprocess
import urllib.request
from pathlib import Path

import pytest

from stack import Gateway
from upstream import Upstream

# Where npm has put the agents; see tests/run.
INSTALLED = os.environ.get("AGENTS_DIR")
# Longer than any run takes: what lasts so long hangs.
HANG_SECONDS = 300

# By format: the type of provider, what follows its address, who runs it, and its model.
PROVIDERS = {
    "chat": ("openai", "/v1", "vllm", "qwen3-coder"),
    "messages": ("anthropic", "", "anthropic", "claude-opus-5"),
    "responses": ("responses", "/v1", "openai", "gpt-5.5"),
}


class Trial:
    """One agent on its way to one provider. `home` and `work` are its directories; it finds nothing
    of whoever runs the tests.
    """

    def __init__(self, upstream, path):
        kind, base, host, model = PROVIDERS[upstream.format]
        self.upstream = upstream
        self.home, self.work = path / "home", path / "work"
        for directory in (self.home, self.work, path / "tmp"):
            directory.mkdir()
        self.gateway = Gateway()
        self.gateway.add_provider("scripted", kind, upstream.url + base, [f"*={model}"], f'{{"host":"{host}"}}')
        self.key = self.gateway.create_key("agent")
        self.url = self.gateway.serve()
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TMPDIR": str(path / "tmp"),
            "LANG": "C.UTF-8",
            # Nobody listens there: what is not for the gateway goes nowhere.
            "HTTP_PROXY": "http://127.0.0.1:9",
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def run(self, *command, **env):
        """What the agent says; an agent that fails, or hangs, is a failure."""
        done = subprocess.run(
            [str(arg) for arg in command],
            **{"env": {**self.env, **env}, "cwd": self.work, "stdin": subprocess.DEVNULL},
            **{"capture_output": True, "text": True, "timeout": HANG_SECONDS},
        )
        said = f"{command[0]} said:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}\nof the requests: {self.upstream.complaints}"
        assert done.returncode == 0, said
        assert self.upstream.complaints == [], said
        assert len(self.upstream.seen) == 3, said
        return done.stdout

    def counted(self, metric, label):
        """The labels that a counter has been raised for."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return {found[1] for line in lines if (found := re.match(rf'{metric}\{{.*?\b{label}="([^"]*)"', line))}

    def losses(self):
        return self.counted("llm_proxy_translation_dropped_total", "field")

    def repairs(self):
        return self.counted("llm_proxy_translation_repaired_total", "repair")

    def stop(self):
        self.gateway.stop()
        self.upstream.stop()


@pytest.fixture
def trial(tmp_path):
    trials = []

    def start(format, two_calls, call, text):
        upstream = Upstream(format, two_calls, call, text)
        trials.append(Trial(upstream, tmp_path))
        return trials[-1]

    yield start
    for trial in trials:
        trial.stop()


def installed(package, pattern):
    """The program of an agent, as npm has installed it for this kind of machine; without one its
    tests are skipped.
    """
    found = sorted(Path(INSTALLED, "node_modules").glob(pattern)) if INSTALLED else []
    if not found:
        pytest.skip(f"npm has not installed {package}")
    return found[0]


@pytest.fixture
def claude():
    return installed("@anthropic-ai/claude-code", "@anthropic-ai/claude-code-*/claude")


@pytest.fixture
def codex():
    return installed("@openai/codex", "@openai/codex-*/vendor/*/bin/codex")
