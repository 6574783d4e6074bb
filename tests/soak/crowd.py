#!/usr/bin/env python3
"""Measures what legitimate clients notice of a crowd of slow ones, and what memory the crowd takes.

usage: crowd.py LLM_PROXY [--clients 10000] [--requests 2000]

Starts a mock provider and a gateway. A client with a key sends requests one after the other and notes
how long each takes: first alone, then beside each crowd. The crowds: half of a head from each of
CLIENTS connections, half of a body from each of CLIENTS with a key, and 1,000 connections with a body
of a byte a second. As many clients as the hard limit of open files allows are there; a gateway gives
its clients half of its descriptors. Prints, for each, the 50th and 99th percentile, their ratio to
those without a crowd, and the memory of the gateway.
"""

import argparse
import http.client
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

KEY = "sk-crowd-0123456789abcdef"
BODY = b'{"model":"mock","messages":[{"role":"user","content":"x"}]}'
PATH = "/v1/chat/completions"
HALF_A_HEAD = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nx-padding: ".encode()
HALF_A_BODY = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: 100000\r\n\r\n{{".encode()
BUFFERED = 64 << 20


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit("a server does not start")


def memory(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+)", status).group(1)) / 1024


def percentiles(port, count):
    """Milliseconds: the 50th and the 99th percentile of `count` requests on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    times = []
    for _ in range(count):
        began = time.perf_counter()
        connection.request("POST", PATH, BODY, headers)
        response = connection.getresponse()
        response.read()
        assert response.status == 200, response.status
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    return times[count // 2], times[count * 99 // 100]


def crowd(port, first, count):
    clients = []
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(first)
        clients.append(client)
    return clients


def drip(clients, stop):
    while not stop.wait(1):
        for client in clients:
            try:
                client.send(b" ", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except OSError:
                pass


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("program")
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=2000)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients = min(options.clients, hard // 2 - 500)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="llm-proxy-crowd-"))
    program, mock, port = os.path.abspath(options.program), free_port(), free_port()
    (directory / "gateway.yaml").write_text(json.dumps({
        "providers": [{"provider_key": "p", "provider_type": "openai", "api_base": f"http://127.0.0.1:{mock}/v1",
                       "api_key": "sk-provider"}],
        "credentials": [{"name": "k", "key": KEY}]}))
    settings = {
        "CONFIG_FILE": str(directory / "gateway.yaml"), "DATA_DIR": str(directory / "data"), "LOG_LEVEL": "off",
        "HEADER_READ_TIMEOUT_SECS": "600", "BODY_READ_TIMEOUT_SECS": "600", "MIN_BODY_RATE": "0",
        "MAX_BUFFERED_BYTES": str(BUFFERED), "MAX_BODY_BYTES": str(8 << 20), "SHUTDOWN_DELAY_SECS": "0",
        "SHUTDOWN_GRACE_SECS": "0", "MODEL_LIST_SECS": "0",
    }
    servers = [
        subprocess.Popen([program, "mock", "--port", str(mock)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
        subprocess.Popen([program, "serve", "--host", "127.0.0.1", "--port", str(port)], env=settings, cwd=directory),
    ]
    try:
        wait_for(mock), wait_for(port)
        percentiles(port, options.requests // 4)
        alone = percentiles(port, options.requests)
        before = memory(servers[1].pid)
        print(f"alone: p50 {alone[0]:.2f} ms, p99 {alone[1]:.2f} ms, {before:.1f} MiB")
        for name, first, count, drips in (
            ("half of a head", HALF_A_HEAD, clients, False), ("half of a body", HALF_A_BODY, clients, False),
            ("a byte a second", HALF_A_BODY, min(1000, clients), True),
        ):
            slow, stop = crowd(port, first, count), threading.Event()
            thread = threading.Thread(target=drip, args=(slow, stop))
            if drips:
                thread.start()
            p50, p99 = percentiles(port, options.requests)
            print(f"{name} from each of {count} clients: p50 {p50:.2f} ms ({p50 / alone[0]:.2f} x), "
                  f"p99 {p99:.2f} ms ({p99 / alone[1]:.2f} x), {memory(servers[1].pid):.1f} MiB")
            stop.set()
            if drips:
                thread.join()
            for client in slow:
                client.close()
            time.sleep(2)
    finally:
        for server in servers:
            server.send_signal(signal.SIGTERM)
            server.wait(60)
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
