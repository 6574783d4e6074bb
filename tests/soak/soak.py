#!/usr/bin/env python3
"""Loads a gateway for a long time and looks for wrong answers, leaks and counters that do not return.

usage: soak.py LLM_PROXY [--minutes 30] [--clients 8] [--seed 1] [--share 0.7]

Providers of the three formats are played by this program. Each request carries a nonce, which its
answer must repeat, and no answer may repeat another one. Clients of all formats ask for whole answers
and streams, of a provider of their own format or of another, by models that one provider has or all
three. Five of a hundred answers of the providers are faults: errors, limits, closed connections,
answers that are cut, pages of markup, silence. Meanwhile the configuration changes each second over
the admin API. The database of the gateway, a PostgreSQL server that this program starts, is killed
and started again ten times, and so is the Redis server with the limits of the key, at other times.

Clients in Python come to some hundred requests a second. With `--share`, `llm-proxy bench --verify`
adds as many as it takes for the gateway to use that share of one core, of all formats, whole and
streams, passed through and translated, in front of two mocks that repeat their prompts, one of which
fails five of ten requests.

Prints the figures, and fails if an answer was wrong, if memory or descriptors have grown after the
warm-up (the first fifth) by more than GROWTH, or if a counter of what runs is not zero at the end.
Without a PostgreSQL server on this machine the embedded store is used, and without a Redis (or
Valkey) server limits are those of the process; what is not there is not restarted, which the last
lines say.
"""

import argparse
import glob
import http.client
import http.server
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

KEY, ADMIN = "sk-soak-0123456789abcdef", "admin-soak-0123456789abcdef"
FAULTS = 0.05
# Of memory, with 4 MiB, and of descriptors, with 8.
GROWTH = 0.05
# Of the key: of all kinds, and larger than what the clients use.
LIMITS = {"rate_limit": 100_000, "tokens_per_minute": 1_000_000_000, "max_concurrency": 1000}
NONCE = re.compile(r"nonce-[0-9a-f]{16}")
FORMATS = ("chat", "messages", "responses")
ZERO = (
    "llm_proxy_active_requests", "llm_proxy_limited_requests", "llm_proxy_queue_requests",
    "llm_proxy_provider_running_requests", "llm_proxy_body_memory_bytes",
)


def text_of(nonce):
    return f"The answer to {nonce} is as it should be."


# --- providers

def whole(kind, text):
    if kind == "chat":
        return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}}
    if kind == "messages":
        return {"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
                "stop_sequence": None, "content": [{"type": "text", "text": text}],
                "usage": {"input_tokens": 9, "output_tokens": 9}}
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"type": "message", "id": "i", "role": "assistant", "status": "completed", "content": [part]}
    return {"id": "r", "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": [item],
            "usage": {"input_tokens": 9, "output_tokens": 9, "total_tokens": 18}}


def events(kind, text):
    words = re.findall(r"\S+\s*", text)
    named = lambda name, data: f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n"
    if kind == "chat":
        chunk = lambda delta, end=None: "data: " + json.dumps({
            "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}) + "\n\n"
        yield chunk({"role": "assistant", "content": ""})
        yield from (chunk({"content": word}) for word in words)
        yield chunk({}, "stop")
        yield "data: [DONE]\n\n"
    elif kind == "messages":
        start = {**whole(kind, ""), "content": [], "stop_reason": None}
        yield named("message_start", {"message": start})
        yield named("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}})
        for word in words:
            yield named("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": word}})
        yield named("content_block_stop", {"index": 0})
        yield named("message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}})
        yield named("message_stop", {})
    else:
        done = whole(kind, text)
        item, part = done["output"][0], done["output"][0]["content"][0]
        at = {"item_id": "i", "output_index": 0}
        yield named("response.created", {"response": {**done, "status": "in_progress", "output": [], "usage": None}})
        yield named("response.output_item.added",
                    {"output_index": 0, "item": {**item, "status": "in_progress", "content": []}})
        yield named("response.content_part.added", {**at, "content_index": 0, "part": {**part, "text": ""}})
        for word in words:
            yield named("response.output_text.delta", {**at, "content_index": 0, "delta": word})
        yield named("response.output_text.done", {**at, "content_index": 0, "text": text})
        yield named("response.content_part.done", {**at, "content_index": 0, "part": part})
        yield named("response.output_item.done", {"output_index": 0, "item": item})
        yield named("response.completed", {"response": done})


class Provider(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faults = random.Random(7)

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        found = NONCE.findall(body)
        kind = self.path.split("/")[1].removeprefix("at-")
        text = text_of(found[-1] if found else "nothing")
        fault = None
        if self.faults.random() < FAULTS:
            fault = self.faults.choice(["500", "429", "close", "cut", "page", "silence"])
        if fault == "silence":
            time.sleep(1)
        elif fault == "close":
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        elif fault in ("500", "429", "page"):
            return self.fail(fault)
        if '"stream":true' in body.replace(" ", ""):
            return self.stream(list(events(kind, text)), fault == "cut")
        data = json.dumps(whole(kind, text)).encode()
        self.head(200, "application/json", len(data))
        if fault == "cut":
            self.close_connection = True
            data = data[: len(data) // 2]
        self.wfile.write(data)

    def head(self, status, kind, length=None):
        self.send_response(status)
        self.send_header("content-type", kind)
        if length is None:
            self.send_header("transfer-encoding", "chunked")
        else:
            self.send_header("content-length", str(length))
        self.end_headers()

    def fail(self, fault):
        page = fault == "page"
        data = b"<html>busy</html>" if page else b'{"error":{"message":"no","type":"server_error"}}'
        self.head(200 if page else int(fault), "text/html" if page else "application/json", len(data))
        self.wfile.write(data)

    def stream(self, pieces, cut):
        self.head(200, "text/event-stream")
        for piece in pieces[: len(pieces) // 2] if cut else pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece.encode()), piece.encode()))
            if self.faults.random() < 0.1:
                time.sleep(0.005)
        if cut:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, *_):
        pass


# --- clients

PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}


def question(kind, model, nonce, stream):
    body = {"model": model, "stream": stream}
    if kind == "responses":
        return {**body, "input": f"Repeat {nonce}"}
    body["messages"] = [{"role": "user", "content": f"Repeat {nonce}"}]
    return {**body, "max_tokens": 100} if kind == "messages" else body


def text_in(kind, answer):
    if kind == "chat":
        return answer["choices"][0]["message"]["content"]
    blocks = answer["content"] if kind == "messages" else answer["output"][0]["content"]
    return "".join(block["text"] for block in blocks)


def text_in_stream(kind, raw):
    """The text of a stream, and whether it has ended as it should."""
    text, ended = "", False
    for line in raw.split("\n"):
        if not line.startswith("data: "):
            continue
        if line == "data: [DONE]":
            ended = True
            continue
        data = json.loads(line[6:])
        if kind == "chat":
            for choice in data.get("choices", []):
                text += choice["delta"].get("content") or ""
        elif data.get("type") == "content_block_delta":
            text += data["delta"].get("text", "")
        elif data.get("type") == "response.output_text.delta":
            text += data["delta"]
        ended |= data.get("type") in ("message_stop", "response.completed")
    return text, ended


class Tally:
    def __init__(self):
        self.lock, self.counts, self.wrong = threading.Lock(), {}, []

    def add(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def fault(self, message):
        with self.lock:
            self.wrong.append(message)


def judge(kind, stream, status, raw, complete, nonce, tally):
    foreign = set(NONCE.findall(raw)) - {nonce}
    if foreign:
        return tally.fault(f"{kind}: the answer to {nonce} has {foreign}")
    if status != 200:
        return tally.add(f"status {status}")
    if stream:
        text, ended = text_in_stream(kind, raw)
        if ended and complete and text != text_of(nonce):
            return tally.fault(f"{kind} stream: {text!r} for {nonce}")
        return tally.add("streams" if ended and complete else "streams that broke")
    if not complete:
        return tally.add("answers that broke")
    if text_in(kind, json.loads(raw)) != text_of(nonce):
        return tally.fault(f"{kind}: {raw[:200]!r} for {nonce}")
    tally.add("answers")


def client(port, seed, stop, tally):
    rng, connection = random.Random(seed), None
    while not stop.is_set():
        kind, stream = rng.choice(FORMATS), rng.random() < 0.5
        nonce = f"nonce-{rng.getrandbits(64):016x}"
        body = json.dumps(question(kind, rng.choice(FORMATS + ("any",)), nonce, stream))
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        connection = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("POST", PATHS[kind], body, headers)
            response = connection.getresponse()
            raw, complete = b"", True
            try:
                raw = response.read()
            except http.client.IncompleteRead as error:
                raw, complete = error.partial, False
            judge(kind, stream, response.status, raw.decode(), complete, nonce, tally)
            if not complete or response.will_close:
                connection.close()
                connection = None
        except (OSError, http.client.HTTPException) as error:
            tally.add(f"connection: {type(error).__name__}")
            connection.close()
            connection = None
        except (ValueError, KeyError, IndexError, TypeError) as error:
            tally.fault(f"{kind}: {nonce} can't be read: {error!r}")


class Load:
    """Generators that load the gateway up to a share of a core: each turn sets the rate of the next."""

    TURN, FIRST_RATE = 20, 600

    def __init__(self, program, directory, gateway, port, share):
        self.program, self.gateway, self.port, self.share = program, gateway, port, share
        self.directory, self.mocks, self.counts, self.shares = directory, [], {}, []

    def start(self):
        for at, fault in enumerate(([], ["--fault", "flapping"])):
            mock_port = free_port()
            mock = [self.program, "mock", "--port", str(mock_port), *fault]
            self.mocks.append(subprocess.Popen(mock, cwd=self.directory, stdout=subprocess.DEVNULL))
            for kind in FORMATS:
                body = {
                    "provider_key": f"mock-{kind}-{at}", "api_key": "sk-provider",
                    "provider_type": {"chat": "openai", "messages": "anthropic"}.get(kind, kind),
                    "api_base": f"http://127.0.0.1:{mock_port}" + ("" if kind == "messages" else "/v1"),
                    "model_mapping": {f"echo-{kind}": "mock-echo"}, "weight": 1 if fault else 9,
                }
                status, text = call(self.port, "POST", "/admin/v1/providers", body)
                assert status == 201, text

    def run(self, stop):
        rate = self.FIRST_RATE
        while not stop.is_set():
            began, used = time.monotonic(), processor_time(self.gateway.pid)
            generators = [self.generator(kind, stream, rate / 6) for kind in FORMATS for stream in (False, True)]
            for generator in generators:
                out, errors = generator.communicate()
                self.add(json.loads(out) if generator.returncode == 0 else None, errors)
            share = (processor_time(self.gateway.pid) - used) / (time.monotonic() - began)
            self.shares.append(share)
            rate *= min(2.0, max(0.5, self.share / max(share, 0.01)))

    def generator(self, kind, stream, rate):
        targets = [f"{provider}=http://127.0.0.1:{self.port}#echo-{provider}" for provider in FORMATS]
        words = ["--format", kind, "--rate", f"{rate:.1f}", "--key", KEY, "--verify", "--prompt-bytes", "60", "--json"]
        words += ["--rounds", "1", "--warm-up", "0", "--duration", f"{self.TURN / 3:.1f}", "--connections", "16"]
        return subprocess.Popen(
            [self.program, "bench", *targets, *words, *(["--stream"] if stream else [])],
            cwd=self.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )

    def add(self, report, errors):
        if report is None:
            # A generator begins with one request, which the gateway may have answered with a fault.
            return self.count("generators that did not start: " + errors.strip()[-80:], 1)
        for target in report["targets"]:
            self.count("verified responses", target["requests"])
            for why, count in target["failures"].items():
                self.count(why, count)

    def count(self, what, more):
        self.counts[what] = self.counts.get(what, 0) + more

    def wrong(self):
        return sum(count for what, count in self.counts.items() if what.startswith("response with"))

    def end(self):
        for mock in self.mocks:
            mock.kill()
            mock.wait()


# --- the gateway and what happens to it

class Postgres:
    def __init__(self, directory):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        self.bin = pathlib.Path(found[-1]) if found else pathlib.Path(shutil.which("postgres") or "/none/x").parent
        self.data, self.port = directory / "postgres", free_port()
        self.user = "postgres" if os.getuid() == 0 else None

    def exists(self):
        return (self.bin / "initdb").exists()

    def run(self, *words):
        kept = {"user": self.user} if self.user else {}
        subprocess.run([self.bin / words[0], *words[1:]], check=True, stdout=subprocess.DEVNULL, cwd="/tmp", **kept)

    def make(self):
        self.data.mkdir(mode=0o700)
        if self.user:
            shutil.chown(self.data, self.user)
            os.chmod(self.data.parent, 0o711)
        self.run("initdb", "-D", self.data, "-U", "soak", "-A", "trust", "--no-sync")

    def start(self):
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self.run("pg_ctl", "-D", self.data, "-w", "-o", options, "-l", self.data / "log", "start")

    def kill(self):
        self.run("pg_ctl", "-D", self.data, "-m", "immediate", "stop")


class Redis:
    """A Redis or Valkey server that keeps nothing, so that each start is with an empty one."""

    def __init__(self, directory):
        self.program = shutil.which("redis-server") or shutil.which("valkey-server")
        self.directory, self.port, self.process = directory, free_port(), None

    def exists(self):
        return self.program is not None

    def start(self):
        words = [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(words, cwd=self.directory, stdout=subprocess.DEVNULL)

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()


class Outages:
    """Kills a server and starts it again after `LASTING` seconds, `TIMES` times in the whole run."""

    TIMES, LASTING = 10, 3

    def __init__(self, server, seconds, offset):
        every = seconds / (self.TIMES + 1)
        self.server, self.done, self.ends = server, 0, None
        self.begins = [(n + offset) * every for n in range(1, self.TIMES + 1)] if server.exists() else []

    def turn(self, second):
        if self.ends is not None and second >= self.ends:
            self.end()
        elif self.ends is None and self.begins and second >= self.begins[0]:
            self.begins.pop(0)
            self.server.kill()
            self.ends = second + self.LASTING

    def end(self):
        if self.ends is not None:
            self.server.start()
            self.done, self.ends = self.done + 1, None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def call(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"authorization": f"Bearer {ADMIN}", "content-type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def configure(port, provider_port):
    for at, kind in enumerate(FORMATS):
        body = {
            "provider_key": kind, "provider_type": {"chat": "openai", "messages": "anthropic"}.get(kind, kind),
            "api_base": f"http://127.0.0.1:{provider_port}/at-{kind}" + ("" if kind == "messages" else "/v1"),
            "api_key": "sk-provider", "model_mapping": {kind: "m", "any": "m"},
            "provider_params": {"limits": {"max_concurrency": 3 + at}},
        }
        status, text = call(port, "POST", "/admin/v1/providers", body)
        assert status == 201, text
    assert call(port, "POST", "/admin/v1/credentials", {"name": "soak", "key": KEY, **LIMITS})[0] == 201


def change(port, second, tally):
    """One change of the configuration: a weight, or a key that comes and goes."""
    try:
        if second % 2:
            ids = [row["id"] for row in json.loads(call(port, "GET", "/admin/v1/providers")[1])["providers"]]
            status, _ = call(port, "PATCH", f"/admin/v1/providers/{ids[second % len(ids)]}", {"weight": 1 + second % 5})
        else:
            status, text = call(port, "POST", "/admin/v1/credentials", {"name": f"k{second}"})
            if status == 201:
                made = json.loads(text)["credential"]["id"]
                status, _ = call(port, "DELETE", f"/admin/v1/credentials/{made}")
        tally.add("changes" if status < 300 else f"changes refused with {status}")
    except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
        tally.add(f"changes that failed: {type(error).__name__}")


def sample(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    memory = int(re.search(r"RssAnon:\s+(\d+)", status).group(1)) / 1024
    return memory, len(os.listdir(f"/proc/{pid}/fd"))


def processor_time(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def growth(samples, slack):
    quarter = max(1, len(samples) // 4)
    mean = lambda part: sum(part) / len(part)
    before, after = mean(samples[:quarter]), mean(samples[-quarter:])
    return before, after, after <= before * (1 + GROWTH) + slack


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("program")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, help="of one core, that the gateway is to use")
    options = parser.parse_args()
    seconds = options.minutes * 60
    directory = pathlib.Path(tempfile.mkdtemp(prefix="llm-proxy-soak-"))
    provider = Server(("127.0.0.1", 0), Provider)
    threading.Thread(target=provider.serve_forever, daemon=True).start()
    port, database, redis = free_port(), Postgres(directory), Redis(directory)
    settings = {
        "DATA_DIR": str(directory / "data"), "ADMIN_KEY": ADMIN, "MAX_CONCURRENT_REQUESTS": "64",
        "LOG_LEVEL": "off", "SHUTDOWN_DELAY_SECS": "0", "PATH": os.environ["PATH"],
    }
    if database.exists():
        database.make()
        database.start()
        settings["DB_URL"] = f"postgresql://soak@127.0.0.1:{database.port}/postgres?sslmode=disable"
    if redis.exists():
        redis.start()
        settings["LIMITS_URL"] = f"redis://127.0.0.1:{redis.port}"
    arguments = [os.path.abspath(options.program), "serve", "--host", "127.0.0.1", "--port", str(port)]
    gateway = subprocess.Popen(arguments, env=settings, cwd=directory)
    try:
        failures = soak(options, seconds, gateway, port, provider.server_address[1], [database, redis], directory)
    finally:
        gateway.send_signal(signal.SIGTERM)
        try:
            gateway.wait(60)
        except subprocess.TimeoutExpired:
            gateway.kill()
        if database.exists():
            database.kill()
        redis.kill()
        shutil.rmtree(directory, ignore_errors=True)
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    sys.exit(bool(failures))


def soak(options, seconds, gateway, port, provider_port, servers, directory):
    for _ in range(600):
        try:
            if call(port, "GET", "/health/ready")[0] == 200:
                break
        except OSError:
            time.sleep(0.1)
    configure(port, provider_port)
    stop, tally = threading.Event(), Tally()
    clients = [
        threading.Thread(target=client, args=(port, options.seed * 1000 + n, stop, tally)) for n in range(options.clients)
    ]
    load = Load(os.path.abspath(options.program), directory, gateway, port, options.share) if options.share else None
    if load:
        load.start()
        clients.append(threading.Thread(target=load.run, args=(stop,)))
    for thread in clients:
        thread.start()
    began, samples = time.monotonic(), []
    outages = [Outages(server, seconds, n / len(servers)) for n, server in enumerate(servers)]
    for second in range(int(seconds)):
        time.sleep(max(0.0, began + second + 1 - time.monotonic()))
        change(port, second, tally)
        samples.append(sample(gateway.pid))
        for outage in outages:
            outage.turn(second)
    for outage in outages:
        outage.end()
    stop.set()
    for thread in clients:
        thread.join()
    failures = list(tally.wrong)
    for what, count in sorted(tally.counts.items()):
        print(f"{what}: {count}")
    if load:
        load.end()
        for what, count in sorted(load.counts.items()):
            print(f"generators, {what}: {count}")
        shares = sorted(load.shares)
        print(f"share of a core, by turns: {shares[0]:.2f} to {shares[-1]:.2f}, median {shares[len(shares) // 2]:.2f}")
        if load.wrong():
            failures.append(f"{load.wrong()} of the generators' responses were wrong")
    print(f"wrong answers: {len(tally.wrong) + (load.wrong() if load else 0)}")
    for outage in outages:
        print(f"restarts of {type(outage.server).__name__}: {outage.done}")
    steady = samples[len(samples) // 5:]
    for name, values, slack in (
        ("memory in MiB", [memory for memory, _ in steady], 4), ("descriptors", [fds for _, fds in steady], 8)
    ):
        before, after, is_flat = growth(values, slack)
        print(f"{name} behind the warm-up and at the end: {before:.1f} and {after:.1f}, most {max(values):.1f}")
        if not is_flat:
            failures.append(f"{name} have grown from {before:.1f} to {after:.1f}")
    print(f"processor time of the gateway: {processor_time(gateway.pid):.0f} s of {time.monotonic() - began:.0f} s")
    failures.extend(counters(port))
    return failures


def counters(port):
    """What is not zero although nothing runs."""
    for _ in range(100):
        _, text = call(port, "GET", "/metrics")
        lines = [line for line in text.splitlines() if line.startswith(ZERO)]
        leases = [line for line in text.splitlines() if line.startswith("llm_proxy_limit_")]
        # The scrape itself is a request that runs.
        open_ones = [line for line in lines if not line.endswith(" 0") and '"/metrics"' not in line]
        if not open_ones:
            print(*leases, f"counters back at zero: {len(lines)}", sep="\n")
            return []
        time.sleep(0.1)
    return [f"not zero at the end: {line}" for line in open_ones]


if __name__ == "__main__":
    main()
