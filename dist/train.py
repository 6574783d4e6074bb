#!/usr/bin/env python3
"""Runs an instrumented binary under the load that it is to be optimised for.

usage: train.py LLM_PROXY PROFILES

LLM_PROXY was compiled with `-C profile-generate`; what it counts goes into the directory PROFILES.
The load is every format of client, whole answers and streams, passed through and translated, on
both drivers, with keys, limits, metrics and the request log, as a gateway is used. Only the gateway
is counted: the mock and the generator are the same program and would be optimised instead of it.
"""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

KEY = "sk-train-0123456789abcdef0123456789abcdef"
REQUESTS = 3000
CONFIG = """
providers:
  - {{ provider_key: chat, provider_type: openai, api_base: "{mock}/v1", api_key: upstream, model_mapping: {{ "chat-*": "mock*" }} }}
  - {{ provider_key: messages, provider_type: anthropic, api_base: "{mock}", api_key: upstream, model_mapping: {{ "messages-*": "mock*" }} }}
  - {{ provider_key: responses, provider_type: responses, api_base: "{mock}/v1", api_key: upstream, model_mapping: {{ "responses-*": "mock*" }} }}
credentials:
  - {{ name: train, key: {key}, rate_limit: 1000000 }}
"""
FORMATS = ("chat", "messages", "responses")


def free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def wait(url: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"train.py: nothing answers at {url}")


def train(binary: str, driver: str, uncounted: dict[str, str], run: pathlib.Path) -> None:
    mock_port, port = free_ports(2)
    mock = subprocess.Popen([binary, "mock", "--port", str(mock_port)], env=uncounted, stdout=subprocess.DEVNULL)
    wait(f"http://127.0.0.1:{mock_port}/", mock)
    config = run / f"{driver}.yaml"
    config.write_text(CONFIG.format(mock=f"http://127.0.0.1:{mock_port}", key=KEY))
    store = run / driver
    store.mkdir()
    subprocess.run([binary, "import", str(config), "--data-dir", str(store)], env=uncounted, check=True, stdout=subprocess.DEVNULL)
    serve = [binary, "serve", "--workers", "1", "--driver", driver, "--host", "127.0.0.1", "--port", str(port), "--data-dir", str(store)]
    gateway = subprocess.Popen(serve, env={**os.environ, "LOG_LEVEL": "warn"}, stdout=subprocess.DEVNULL)
    wait(f"http://127.0.0.1:{port}/health/ready", gateway)
    for client in FORMATS:
        for model, more in (("-", []), ("--tokens-62", ["--stream"]), ("-", ["--prompt-bytes", "20000"])):
            targets = [f"{provider}=http://127.0.0.1:{port}#{provider}{model}" for provider in FORMATS]
            bench = [binary, "bench", *targets, "--format", client, "--key", KEY, "--rounds", "1", "--warm-up", "0"]
            done = subprocess.run(
                [*bench, "--requests", str(REQUESTS), *more], env=uncounted, capture_output=True, text=True
            )
            if done.returncode != 0:
                sys.exit(f"train.py: {done.args}: {done.stdout}{done.stderr}")
    # The counts are written when the process ends in order.
    gateway.send_signal(signal.SIGINT)
    if gateway.wait(60) != 0:
        sys.exit(f"train.py: the gateway ended with {gateway.returncode}")
    mock.kill()
    mock.wait()


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    binary, profiles = str(pathlib.Path(sys.argv[1]).resolve()), pathlib.Path(sys.argv[2]).resolve()
    profiles.mkdir(parents=True, exist_ok=True)
    os.environ["LLVM_PROFILE_FILE"] = str(profiles / "gateway-%p.profraw")
    uncounted = {**os.environ, "LLVM_PROFILE_FILE": "/dev/null"}
    with tempfile.TemporaryDirectory() as run:
        for driver in ("epoll", "io_uring"):
            train(binary, driver, uncounted, pathlib.Path(run))


if __name__ == "__main__":
    main()
