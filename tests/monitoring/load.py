"""A gateway before two mock providers, and clients that do all that a dashboard shows: answers and
streams, as they came and translated, limits, wrong keys, failures, clients that leave.
"""

import http.client
import json
import os
import random
import re
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("LLM_PROXY_BIN", str(ROOT / "target" / "debug" / "llm-proxy"))
ADMIN_KEY = "the-admin-key-of-the-load"
PATIENCE = 30
QUESTION = [{"role": "user", "content": "Hello"}]
# What neither Messages nor Responses can say, and a tool's answer that nobody asked for: one is
# dropped, the other mended.
LOSSY = {"logit_bias": {"1": 1}, "seed": 7, "n": 1, "frequency_penalty": 0.5, "logprobs": True}
ORPHAN = [*QUESTION, {"role": "tool", "tool_call_id": "call_1", "content": "42"}, {"role": "user", "content": "And?"}]


def free_port():
    """Below the range of ports that the kernel gives to sockets that take any, so that it stays free
    until it is used.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


class Stack:
    """Ends all of its processes on `stop`."""

    def __init__(self, directory):
        self.dir = Path(directory)
        self._processes = []
        self._env = {
            "PATH": os.environ["PATH"], "DATA_DIR": str(self.dir / "data"), "ADMIN_KEY": ADMIN_KEY,
            "TLS_CERT": str(self.dir / "cert.pem"), "TLS_KEY": str(self.dir / "key.pem"),
            "HEALTH_CHECK_INTERVAL_SECS": "1", "JSONL_LOG_ENABLED": "true",
            "JSONL_LOG_PATH": str(self.dir / "requests.jsonl"),
            "RESCUE_STREAMS": "prompt", "AFFINITY": "prefix",
            # Nobody is there: spans are lost, and it shows.
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}",
        }
        self._certificate()
        steady = self._listening("mock", "--tokens", "60", "--interval-ms", "5", "--delay-ms", "20")
        shaky = self._listening("mock", "--tokens", "40", "--interval-ms", "10", "--delay-ms", "120")
        every = '{"formats":["chat","messages","responses"]}'
        for name, kind, base, params, maps in [
            ("steady", "openai", f"{steady}/v1", every, ["small=small", "mock*=mock*", "cut=mock-truncate"]),
            ("second", "openai", f"{shaky}/v1", every, ["small=small", "large=large"]),
            # Goes on with the streams of `cut`, which break off.
            ("third", "openai", f"{shaky}/v1", '{"priority":1}', ["cut=small"]),
            ("claude", "anthropic", shaky, '{"limits":{"max_concurrency":100}}', ["claude-*=claude-*"]),
            # Always out of order, so that the others are asked for it.
            ("broken", "openai", f"{steady}/v1", every, ["large=mock-503"]),
        ]:
            self._run("provider", "add", "--key", name, "--type", kind, "--base", base, "--api-key", "sk-upstream",
                      "--params", params, *[word for pair in maps for word in ("--map", pair)])
        self._run("model", "add", "--name", "smart", "--member", "small", "--hedge", "20")
        self.keys = {name: self._run("key", "create", "--name", name, *more).strip() for name, more in [
            ("team-a", []), ("team-b", []), ("poor", []), ("narrow", ["--rate-limit", "1", "--tokens-per-minute", "100000"])]}
        prices = self.dir / "prices.json"
        each = {"small": 1e-5, "large": 1e-5, "claude-x": 1e-5, "mock-cached": 1e-9}
        prices.write_text(json.dumps({
            model: {"input_cost_per_token": price, "output_cost_per_token": 3 * price} for model, price in each.items()}))
        self._run("import-prices", str(prices))
        self._run("budget", "create", "--name", "poor", "--key", "poor", "--amount", "0.001", "--downgrade-to", "mock-cached")
        url = self._listening("serve", "--host", "127.0.0.1", "--port", "0", "--workers", "2")
        self.port = int(url.rsplit(":", 1)[1])
        self.tls = ssl.create_default_context()
        self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE

    def _certificate(self):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "90",
             "-subj", "/CN=localhost", "-keyout", self._env["TLS_KEY"], "-out", self._env["TLS_CERT"]],
            check=True, capture_output=True)

    def _run(self, *args):
        done = subprocess.run([BINARY, *args], env=self._env, cwd=self.dir, capture_output=True, text=True)
        assert done.returncode == 0, f"llm-proxy {' '.join(args[:2])}: {done.stderr}"
        return done.stdout

    def start(self, name, command, env=None):
        """A process of this run; its log is NAME.log."""
        log = self.dir / f"{name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(command, env=env, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self._processes.append(process)
        return log, process

    def _listening(self, *args):
        log, process = self.start(f"{args[0]}-{len(self._processes)}", [BINARY, *args], self._env)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and process.poll() is None:
            if found := re.search(r"listening: (https?://[\w.:\[\]-]+)", log.read_text(errors="replace")):
                return found[1]
            time.sleep(0.02)
        raise AssertionError(f"llm-proxy {args[0]} does not listen; it said:\n{log.read_text(errors='replace')}")

    def connect(self):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE, context=self.tls)

    def stop(self):
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def kinds(keys):
    """Path, body, key and what the client does: read the answer, or leave at its first bytes."""
    def of(path, key="team-a", leave=False, agent="openai-python/1.0", **body):
        return path, body, keys.get(key, key), leave, agent
    chat, messages, responses = "/v1/chat/completions", "/v1/messages", "/v1/responses"
    return [
        of(chat, model="small", messages=QUESTION),
        of(chat, model="small", messages=QUESTION, stream=True),
        of(chat, "team-b", model="large", messages=QUESTION, stream=True, agent="claude-cli/2.0"),
        of(messages, model="small", messages=QUESTION, max_tokens=100, agent="claude-cli/2.0"),
        of(messages, "team-b", model="small", messages=QUESTION, max_tokens=100, stream=True),
        of(responses, model="small", input="Hello", stream=True, agent="codex_cli_rs/0.1"),
        of(chat, model="claude-x", messages=QUESTION, stream=True),
        of(chat, model="claude-x", messages=ORPHAN, **LOSSY),
        of(responses, "team-b", model="claude-x", input="Hello"),
        of(chat, model="smart", messages=QUESTION),
        of(chat, model="mock-cached", messages=QUESTION),
        of(chat, model="mock-429", messages=QUESTION),
        of(chat, model="mock-500", messages=QUESTION),
        # One after the other, so that some are above one a second however slow the machine is.
        *[of(chat, "narrow", model="small", messages=QUESTION)] * 4,
        of(chat, "poor", model="large", messages=QUESTION, max_tokens=100),
        of(chat, "sk-nobody", model="small", messages=QUESTION),
        of(chat, model="unknown-model", messages=QUESTION),
        of(chat, model="mock-tokens-400-interval-10", messages=QUESTION, stream=True, leave=True),
        of(chat, model="mock-truncate", messages=QUESTION, stream=True),
        of(chat, model="cut", messages=QUESTION, stream=True),
        of(chat, model="smart", messages=QUESTION, stream=True),
        # Nobody has issued it.
        of(responses, model="small", input="And?", previous_response_id="resp_unknown"),
    ]


def one(stack, kind):
    path, body, key, leave, agent = kind
    connection = stack.connect()
    try:
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json", "user-agent": agent}
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        if leave:
            answer.read(1)
        else:
            answer.read()
    except (http.client.HTTPException, OSError):
        # A stream that breaks off is one of the things to be shown.
        pass
    finally:
        connection.close()


def change(stack):
    """A change of the configuration, so that its way into force is measured."""
    connection = stack.connect()
    body = {"name": f"made-{time.monotonic_ns()}", "allowed_models": []}
    headers = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"}
    connection.request("POST", "/admin/v1/credentials", json.dumps(body), headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 201, answer.status


class Load:
    """Clients in a closed loop, each beginning at another kind of request."""

    def __init__(self, stack, clients=8):
        self._over = threading.Event()
        work = kinds(stack.keys)
        self._threads = [threading.Thread(target=self._client, args=(stack, work, at * 2)) for at in range(clients)]
        self._threads.append(threading.Thread(target=self._changes, args=(stack,)))
        for thread in self._threads:
            thread.start()

    def _client(self, stack, work, at):
        while not self._over.is_set():
            one(stack, work[at % len(work)])
            at += 1
            self._over.wait(0.02)

    def _changes(self, stack):
        while not self._over.wait(2):
            change(stack)

    def stop(self):
        self._over.set()
        for thread in self._threads:
            thread.join()
