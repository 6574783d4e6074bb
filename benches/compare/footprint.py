#!/usr/bin/env python3
"""Prints what a gateway takes: its start, its memory, idle connections, many open streams.

usage: footprint.py LLM_PROXY [start] [memory] [connections] [streams]

Everything runs on one worker with the embedded store. `streams` opens as many streams as descriptors
allow, 10,000 at most, with one event a second each, and takes a minute.
"""

import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

MOST_STREAMS = 10_000
KEY = "sk-footprint-0123456789abcdef0123456789abcdef"
CONFIG = """
providers:
  - provider_key: mock
    provider_type: openai
    api_base: http://127.0.0.1:{port}/v1
    api_key: upstream-key
    model_mapping: {{ "mock*": "mock*" }}
credentials:
  - name: footprint
    key: {key}
"""
BODY = '{"model":"mock","messages":[{"role":"user","content":"Hello"}]}'
REQUEST = (
    f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n"
    f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}"
).encode()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def first(binary: str, *arguments: str) -> list[str]:
    """The command before what else runs on the machine, where that is allowed, on the first CPU."""
    cpu = str(min(os.sched_getaffinity(0)))
    return ["taskset", "-c", cpu, *(["nice", "-n", "-20"] if os.geteuid() == 0 else []), binary, *arguments]


def prefer(pid: int) -> None:
    try:
        pathlib.Path(f"/proc/{pid}/autogroup").write_text("-20")
    except OSError:
        pass


class Gateway:
    """A gateway in front of a mock, with a store of its own."""

    def __init__(self, binary: str, folder: str):
        self.mock_port, self.port = free_port(), free_port()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
        self.mock = subprocess.Popen([binary, "mock", "--port", str(self.mock_port)], **quiet)
        prefer(self.mock.pid)
        config = pathlib.Path(folder, "gateway.yaml")
        config.write_text(CONFIG.format(port=self.mock_port, key=KEY))
        self.env = {**os.environ, "DATA_DIR": folder, "PORT": "1", "LOG_LEVEL": "warn", "SHUTDOWN_DELAY_SECS": "0"}
        subprocess.run([binary, "import", str(config)], env=self.env, check=True, capture_output=True)
        self.command = first(binary, "serve", "--workers", "1", "--host", "127.0.0.1", "--port", str(self.port))
        self.quiet = quiet
        self.process: subprocess.Popen | None = None

    def start(self) -> float:
        """Starts it, and returns the seconds until its first response."""
        began = time.perf_counter()
        self.process = subprocess.Popen(self.command, env=self.env, **self.quiet)
        prefer(self.process.pid)
        while True:
            # A connection that meets the gateway's check of its port is reset.
            try:
                with socket.create_connection(("127.0.0.1", self.port)) as client:
                    client.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                    if client.recv(4096).startswith(b"HTTP/1.1 200"):
                        return time.perf_counter() - began
            except OSError:
                time.sleep(0.0005)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def close(self) -> None:
        self.mock.kill()

    def memory(self) -> dict[str, int]:
        """Resident memory in KiB: all of it, the allocator's, and that of files."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return {name: int(re.search(rf"{name}:\s+(\d+)", status).group(1)) for name in ("VmRSS", "RssAnon", "RssFile")}

    def connect(self, asks: bool) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port))
        if asks:
            client.sendall(REQUEST)
            got = b""
            while b"\r\n\r\n" not in got or len(got) < got.index(b"\r\n\r\n") + 4 + length(got):
                part = client.recv(65536)
                if not part:
                    sys.exit(f"the gateway closed its connection after {got!r}")
                got += part
        return client


def length(response: bytes) -> int:
    return int(re.search(rb"content-length: (\d+)", response, re.I).group(1))


def start(gateway: Gateway) -> None:
    gateway.start()
    gateway.stop()
    times = []
    for _ in range(9):
        times.append(gateway.start() * 1000)
        gateway.stop()
    print(f"start to first response, existing store: {min(times):.0f} to {max(times):.0f} ms, median {sorted(times)[4]:.0f}")


def memory(gateway: Gateway) -> None:
    gateway.start()
    # After some seconds without a request it gives pages of code back.
    time.sleep(5)
    print(f"idle, KiB: {gateway.memory()}")
    for _ in range(100):
        gateway.connect(True).close()
    time.sleep(1)
    print(f"behind 100 requests, KiB: {gateway.memory()}")
    gateway.stop()


def connections(gateway: Gateway) -> None:
    count = min(4000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 4)
    for asks in (False, True):
        gateway.start()
        warm = [gateway.connect(asks) for _ in range(100)]
        time.sleep(0.5)
        before = gateway.memory()["RssAnon"]
        held = [gateway.connect(asks) for _ in range(count)]
        time.sleep(0.5)
        each = (gateway.memory()["RssAnon"] - before) * 1024 / count
        what = "behind a request" if asks else "without a request"
        print(f"an idle connection {what}: {each:.0f} bytes of user memory, of {count}")
        del warm, held
        gateway.stop()


def streams(gateway: Gateway, binary: str) -> None:
    # Each stream takes two descriptors of the gateway.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = min(MOST_STREAMS, (hard - 200) // 2 - 100)
    gateway.start()
    begin, seconds = 10, 30
    arguments = [
        "bench", f"direct=http://127.0.0.1:{gateway.mock_port}", f"gateway=http://127.0.0.1:{gateway.port}",
        "--process", f"gateway={gateway.process.pid}", "--key", KEY, "--stream",
        "--model", f"mock-stamp-interval-1000-tokens-{seconds}", "--rate", str(count / begin),
        "--requests", str(count), "--connections", str(count), "--rounds", "1", "--warm-up", "0", "--timeout", "90", "--json",
    ]
    last = str(max(os.sched_getaffinity(0)))
    load = ["taskset", "-c", last, *(["nice", "-n", "-20"] if os.geteuid() == 0 else []), binary, *arguments]
    bench = subprocess.Popen(load, stdout=subprocess.PIPE, text=True, start_new_session=True)
    prefer(bench.pid)
    peak = [0]

    def watch() -> None:
        while bench.poll() is None:
            peak[0] = max(peak[0], gateway.memory()["VmRSS"])
            time.sleep(0.2)

    threading.Thread(target=watch, daemon=True).start()
    report = json.loads(bench.communicate()[0])
    for target in report["targets"]:
        events = target["events_under_way_us"]
        print(
            f"{target['name']}: {target['requests']} streams, {target['failed']} failed, {events['count']} events; "
            f"delay of an event p50 {events['p50']:.0f} us, p99 {events['p99']:.0f} us"
        )
    print(f"most resident memory with {count} open streams: {peak[0] / 1024:.0f} MiB")
    gateway.stop()


def main() -> None:
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    chosen = sys.argv[2:] or ["start", "memory", "connections", "streams"]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(binary, folder)
        try:
            if "start" in chosen:
                start(gateway)
            if "memory" in chosen:
                memory(gateway)
            if "connections" in chosen:
                connections(gateway)
            if "streams" in chosen:
                streams(gateway, binary)
        finally:
            if gateway.process and gateway.process.poll() is None:
                gateway.process.kill()
            gateway.close()


if __name__ == "__main__":
    main()
