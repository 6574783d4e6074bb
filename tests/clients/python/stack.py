"""Gateways for the tests: started through the command line, as an operator would.

`Stack` has three providers, one of each format, all on one mock.

| model | served by |
|---|---|
| `mock...` | the provider of the client's own format, byte for byte |
| `chat/NAME`, `messages/NAME`, `responses/NAME` | the provider of that name, whatever the client's format; the answer's name is put back |
| `team/large` | as `mock...`, under the name `mock-large`; the one model that the lists show |

What follows `mock-` in a name tells the mock what to do: `mock-429`, `mock-stall`,
`mock-tokens-200-interval-20`.
"""

import json
import os
import re
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BINARY = os.environ.get("LLM_PROXY_BIN", str(ROOT / "target" / "debug" / "llm-proxy"))

# What the mock says when it is asked for nothing special.
USUAL = "The mock upstream answers with the same words each time, so a test can tell."
UPSTREAM_KEY = "sk-the-key-of-the-provider"
ADMIN_KEY = "the-admin-key-of-the-tests"
LISTED = "team/large"
FORMATS = ["chat", "messages", "responses"]

START_SECONDS = 30
STOP_SECONDS = 10


class Gateway:
    """A directory, a store in it, and the processes that are started on it."""

    def __init__(self):
        self._dir = tempfile.TemporaryDirectory(prefix="llm-proxy-clients-")
        # No settings of whoever runs the tests.
        self._env = {"PATH": os.environ["PATH"], "DATA_DIR": str(Path(self._dir.name) / "data"), "ADMIN_KEY": ADMIN_KEY}
        # The mock's failures are for the clients: the gateway neither repeats requests nor remembers.
        self._env |= {"RETRY_MAX_WAIT_SECS": "0", "ADAPTIVE_ROUTING_ENABLED": "false"}
        self._processes = []

    def add_provider(self, name, kind, base, maps, params="{}"):
        self._run(
            *["provider", "add", "--key", name, "--type", kind, "--base", base, "--api-key", UPSTREAM_KEY],
            *["--params", params, *[arg for pair in maps for arg in ("--map", pair)]],
        )

    def create_key(self, name, *args):
        return self._run("key", "create", "--name", name, *args).strip()

    def serve(self):
        return self._listening("serve", "--host", "127.0.0.1", "--port", "0")

    def _run(self, *args):
        done = subprocess.run([BINARY, *args], env=self._env, cwd=self._dir.name, capture_output=True, text=True)
        assert done.returncode == 0, f"llm-proxy {' '.join(args[:2])}: {done.stderr}"
        return done.stdout

    def _listening(self, *args):
        """Starts a server and returns its address, which both kinds tell in a line `listening:
        URL`.
        """
        log = Path(self._dir.name) / f"{args[0]}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [BINARY, *args], env=self._env, cwd=self._dir.name, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        self._processes.append(process)
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            said = log.read_text(errors="replace")
            if found := re.search(r"listening: (https?://[\w.:\[\]-]+)", said):
                return found[1]
            if process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"llm-proxy {args[0]} does not listen; it said:\n{said}")

    def stop(self):
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._dir.cleanup()


class Stack(Gateway):
    def __init__(self):
        super().__init__()
        try:
            self.mock = self._listening("mock", "--port", "0")
            # A prefix chooses the format of the provider; without one nothing is translated.
            every = '{"formats":["chat","messages","responses"]}'
            self.add_provider("every", "openai", f"{self.mock}/v1", ["mock*=mock*", f"{LISTED}=mock-large"], every)
            # Models that think, at hosts that know how to ask for it: nothing is left out for want
            # of knowledge.
            at = '{"host":"%s"}'
            self.add_provider("chat", "openai", f"{self.mock}/v1", ["chat/*=z-ai/*"], at % "openrouter")
            self.add_provider("messages", "anthropic", self.mock, ["messages/*=claude-opus-4-5-*"], at % "anthropic")
            self.add_provider("responses", "responses", f"{self.mock}/v1", ["responses/*=gpt-5.5-*"], at % "openai")
            self.key = self.create_key("tests")
            self.narrow_key = self.create_key("narrow", "--allow", "mock-small")
            # One for each format: tests do not take of each other's one request per second.
            self.limited_keys = {kind: self.create_key(f"limited-{kind}", "--rate-limit", "1") for kind in FORMATS}
            self.url = self.serve()
        except BaseException:
            self.stop()
            raise

    # What the mock saw.

    def _mock_json(self, path):
        with urllib.request.urlopen(self.mock + path, timeout=10) as answer:
            return json.load(answer)

    def requests(self, kind):
        """How many requests of a kind (`chat`, `messages`, ...) have reached the provider."""
        return self._mock_json("/__count")["requests"][kind]

    def closed_early(self):
        """How many connections were closed on the provider before its answer had ended."""
        return self._mock_json("/__count")["client_closed_early"]

    def last(self):
        """The last request that reached the provider: method, path, headers (names in lower case),
        body.
        """
        last = self._mock_json("/__last")
        last["headers"] = {name.lower(): value for name, value in last["headers"]}
        last["body"] = json.loads(last["body"]) if last["body"] else None
        return last

    def wait_for_close(self, before):
        """Waits until the provider has seen its connection closed, which it must long before its
        answer would end.
        """
        until = time.monotonic() + 10
        while self.closed_early() == before:
            assert time.monotonic() < until, "the provider still sends to a client that has gone"
            time.sleep(0.02)
        assert self.closed_early() == before + 1
