#!/usr/bin/env python3
"""Counts the user-space instructions that the gateway takes for one request, with callgrind.

usage: gateway.py LLM_PROXY [--update] [--against FILE] [--by-function] [--budgets] [--jsonl] [CASE...]

The gateway runs with one worker on epoll, without a request log, behind an upstream of this program,
and gets its requests one after the other on one connection: POST of 1 KB, and 0.6 KB of JSON or 66
events of 13 to 17 KB in the response. "bypass" is a client of Chat, "messages" and "responses" are
clients of these formats with a provider of their own. Each case runs twice, with FEW requests and with
MORE; the difference is what one request costs. `worker` is the thread that serves requests, `all` is
every thread.

The counts of the worker are compared with those in gateway.tsv of the same compiler and the same
vector extensions, and a case that has grown by more than LIMIT fails. `--update` writes the counts of
this machine into the file. With `--against` another file takes its place. In "one budget" the key has
a budget in dollars, in "two budgets" another one in tokens. With `--budgets` it has both in every
case, with `--jsonl` all is written to a JSONL log; then nothing is compared or written.
`--by-function` prints the functions that cost most.
"""

import collections
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from instructions import LIMIT, environment, read_counts, take_file

FEW, MORE = 200, 1200
BASELINE = pathlib.Path(__file__).with_name("gateway.tsv")
KEY = "sk-counted-0123456789abcdef0123456789abcdef"

NOTES = "Summarise the following notes in three short bullet points, keep every figure as it is. " * 9
TEXT = "The quick brown fox jumps over the lazy dog while 42 other foxes watch it. "


# What follows the model in the body, by path.
MEMBERS = {
    "/chat/completions": '"messages":[{"role":"system","content":"You answer briefly."},{"role":"user","content":"%s"}],'
    '"max_tokens":256,"temperature":0.7' % NOTES,
    "/messages": '"system":"You answer briefly.","messages":[{"role":"user","content":"%s"}],"max_tokens":256' % NOTES,
    "/responses": '"instructions":"You answer briefly.","input":"%s","max_output_tokens":256,"store":false' % NOTES,
}


def request(path: str, model: str, stream: bool) -> bytes:
    body = '{"model":"%s",%s,"stream":%s}' % (model, MEMBERS[path], str(stream).lower())
    head = (
        "POST /v1%s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n"
        "Content-Type: application/json\r\nUser-Agent: counted/1.0\r\nContent-Length: %d\r\n\r\n"
        % (path, KEY, len(body))
    )
    return (head + body).encode()


def answer(kind: str, parts: list[bytes]) -> bytes:
    head = "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nx-request-id: req_0123456789abcdef\r\n" % kind
    if len(parts) == 1:
        return (head + "Content-Length: %d\r\n\r\n" % len(parts[0])).encode() + parts[0]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return (head + "Transfer-Encoding: chunked\r\n\r\n").encode() + chunks + b"0\r\n\r\n"


def chat_json() -> bytes:
    body = (
        '{"id":"chatcmpl-0123456789","object":"chat.completion","created":1750000000,"model":"counted",'
        '"choices":[{"index":0,"message":{"role":"assistant","content":"%s","refusal":null},"logprobs":null,'
        '"finish_reason":"stop"}],"usage":{"prompt_tokens":180,"completion_tokens":64,"total_tokens":244}}'
    ) % (TEXT * 4)
    return answer("application/json", [body.encode()])


def chat_stream() -> bytes:
    def chunk(delta: str, finish: str = "null", usage: str = "null") -> bytes:
        choices = '[{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s}]' % (delta, finish)
        return (
            'data: {"id":"chatcmpl-0123456789","object":"chat.completion.chunk","created":1750000000,'
            '"model":"counted","system_fingerprint":"fp_0123456789","choices":%s,"usage":%s}\n\n' % (choices, usage)
        ).encode()

    events = [chunk('{"role":"assistant","content":""}')]
    events += [chunk('{"content":" token%d"}' % n) for n in range(62)]
    events += [chunk("{}", '"stop"')]
    usage = '{"prompt_tokens":180,"completion_tokens":64,"total_tokens":244}'
    events += [chunk("{}", "null", usage).replace(b'[{"index":0,"delta":{},"logprobs":null,"finish_reason":null}]', b"[]")]
    return answer("text/event-stream", events + [b"data: [DONE]\n\n"])


def messages_json() -> bytes:
    body = (
        '{"id":"msg_0123456789","type":"message","role":"assistant","model":"counted","content":[{"type":"text",'
        '"text":"%s"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":180,'
        '"output_tokens":64}}'
    ) % (TEXT * 4)
    return answer("application/json", [body.encode()])


def messages_stream() -> bytes:
    def event(name: str, data: str) -> bytes:
        return ('event: %s\ndata: {"type":"%s"%s}\n\n' % (name, name, data)).encode()

    start = (
        ',"message":{"id":"msg_0123456789","type":"message","role":"assistant","model":"counted","content":[],'
        '"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":180,"output_tokens":1}}'
    )
    pad = "the words of a token that is somewhat longer than usual, as they are in prose, and "
    events = [event("message_start", start)]
    events += [event("content_block_start", ',"index":0,"content_block":{"type":"text","text":""}')]
    text = ',"index":0,"delta":{"type":"text_delta","text":"%s%d"}'
    events += [event("content_block_delta", text % (pad, n)) for n in range(61)]
    events += [event("content_block_stop", ',"index":0')]
    delta = ',"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":64}'
    events += [event("message_delta", delta), event("message_stop", "")]
    return answer("text/event-stream", events)


def responses_stream() -> bytes:
    number = 0

    def event(name: str, data: str) -> bytes:
        nonlocal number
        number += 1
        return ('event: %s\ndata: {"type":"%s","sequence_number":%d%s}\n\n' % (name, name, number - 1, data)).encode()

    def response(status: str, output: str, usage: str) -> str:
        return (
            ',"response":{"id":"resp_0123456789","object":"response","created_at":1750000000,"status":"%s",'
            '"model":"counted","output":[%s],"usage":%s}' % (status, output, usage)
        )

    place = ',"item_id":"msg_0123456789","output_index":0,"content_index":0'
    part = '{"type":"output_text","annotations":[],"text":"%s"}'
    item = '{"id":"msg_0123456789","type":"message","status":"%s","role":"assistant","content":[%s]}'
    tokens = [" token%d" % n for n in range(58)]
    text = "".join(tokens)
    events = [event("response.created", response("in_progress", "", "null"))]
    events += [event("response.output_item.added", ',"output_index":0,"item":' + item % ("in_progress", ""))]
    events += [event("response.content_part.added", place + ',"part":' + part % "")]
    delta = place + ',"delta":"%s","logprobs":[],"obfuscation":"%s"'
    events += [event("response.output_text.delta", delta % (token, "x" * (n % 9))) for n, token in enumerate(tokens)]
    events += [event("response.output_text.done", place + ',"text":"%s"' % text)]
    events += [event("response.content_part.done", place + ',"part":' + part % text)]
    done = item % ("completed", part % text)
    events += [event("response.output_item.done", ',"output_index":0,"item":' + done)]
    usage = '{"input_tokens":180,"output_tokens":64,"total_tokens":244}'
    events += [event("response.completed", response("completed", done, usage))]
    return answer("text/event-stream", events)


# The name of the case: the path, the model, whether it streams, the end of its response.
CASES = {
    "json bypass": ("/chat/completions", "chat", False, b"}}"),
    "json one budget": ("/chat/completions", "chat", False, b"}}"),
    "json two budgets": ("/chat/completions", "chat", False, b"}}"),
    "stream bypass": ("/chat/completions", "chat", True, b"0\r\n\r\n"),
    "json translated": ("/chat/completions", "messages", False, b"}}"),
    "stream translated": ("/chat/completions", "messages", True, b"0\r\n\r\n"),
    "stream messages": ("/messages", "messages", True, b"0\r\n\r\n"),
    "stream responses": ("/responses", "responses", True, b"0\r\n\r\n"),
}
ANSWERS = {
    ("chat", False): chat_json(),
    ("chat", True): chat_stream(),
    ("messages", False): messages_json(),
    ("messages", True): messages_stream(),
    ("responses", True): responses_stream(),
}

CONFIG = """
providers:
  - provider_key: chat
    provider_type: openai
    api_base: http://127.0.0.1:{port}/v1
    api_key: upstream-key
    model_mapping: {{ chat: {{ mapped_model: chat, input_cost_per_token: 1e-6, output_cost_per_token: 2e-6 }} }}
  - provider_key: messages
    provider_type: anthropic
    api_base: http://127.0.0.1:{port}
    api_key: upstream-key
    model_mapping: {{ messages: {{ mapped_model: messages, input_cost_per_token: 1e-6, output_cost_per_token: 2e-6 }} }}
  - provider_key: responses
    provider_type: responses
    api_base: http://127.0.0.1:{port}/v1
    api_key: upstream-key
    model_mapping: {{ responses: {{ mapped_model: responses, input_cost_per_token: 1e-6, output_cost_per_token: 2e-6 }} }}
credentials:
  - name: counted
    key: {key}
"""


WITH_BUDGETS = "--budgets" in sys.argv
WITH_JSONL = "--jsonl" in sys.argv
IS_PLAIN = not WITH_BUDGETS and not WITH_JSONL
BUDGETS = [
    "{name: money, scope: credential, subject: counted, amount: 9000}",
    "{name: tokens, scope: credential, subject: counted, amount: 1000000000, unit: tokens, period: day}",
]
# How many of them the key has in a case.
BUDGETS_OF = {"json one budget": 1, "json two budgets": 2}


def budgets_of(case: str) -> list[str]:
    return BUDGETS if WITH_BUDGETS else BUDGETS[: BUDGETS_OF.get(case, 0)]


def with_budgets(config: str, budgets: list[str]) -> str:
    return config + "".join(["budgets:\n", *(f"  - {row}\n" for row in budgets)] if budgets else [])


def serve(connection: socket.socket) -> None:
    """Answers the requests of one connection."""
    buffer = b""
    while part := connection.recv(65536):
        buffer += part
        head = buffer.find(b"\r\n\r\n") + 4
        if head < 4:
            continue
        length = re.search(rb"content-length: (\d+)", buffer[:head], re.I)
        end = head + (int(length.group(1)) if length else 0)
        if len(buffer) < end:
            continue
        line = buffer[: buffer.find(b"\r\n")]
        kind = next((kind for kind in ("messages", "responses") if b"/" + kind.encode() in line), "chat")
        stream = b'"stream":true' in buffer[head:end]
        if buffer.startswith(b"GET"):
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        else:
            connection.sendall(ANSWERS[kind, stream])
        buffer = buffer[end:]


def upstream() -> int:
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def connect(port: int) -> socket.socket:
    # A large configuration is read slowly under callgrind.
    deadline = time.monotonic() + 900
    while True:
        try:
            client = socket.create_connection(("127.0.0.1", port))
            break
        except OSError:
            if time.monotonic() > deadline:
                sys.exit("the gateway did not start")
            time.sleep(0.1)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def exchange(client: socket.socket, case: str) -> bytes:
    """Sends a request and returns the response, or what came of another one than 200."""
    path, model, stream, end = CASES[case]
    client.sendall(request(path, model, stream))
    got = b""
    while not got.endswith(end):
        part = client.recv(65536)
        if not part:
            sys.exit(f"{case}: the gateway closed its connection after {got[-300:]!r}")
        got += part
        if b"\r\n" in got and not got.startswith(b"HTTP/1.1 200 OK"):
            return got
    return got


def warm_up(gateway: subprocess.Popen, port: int, case: str) -> None:
    """Asks until the gateway holds something of its budgets, which takes longer under callgrind than a
    request waits, and forgets what was counted."""
    deadline = time.monotonic() + 300
    while not exchange(client := connect(port), case).startswith(b"HTTP/1.1 200 OK"):
        client.close()
        if time.monotonic() > deadline:
            sys.exit(f"{case}: no request passed its budgets")
    client.close()
    subprocess.run(["callgrind_control", "--zero", str(gateway.pid)], check=True, stdout=subprocess.DEVNULL)


def ask(port: int, case: str, times: int) -> None:
    client = connect(port)
    for _ in range(times):
        got = exchange(client, case)
        if not got.startswith(b"HTTP/1.1 200 OK"):
            sys.exit(f"{case}: {got[:300]!r}")
    client.close()


Counts = collections.Counter[str]


def read(path: pathlib.Path) -> Counts:
    """Returns the instructions by function (exclusive) of one dump."""
    names: dict[str, str] = {}
    counts: Counts = collections.Counter()
    function, is_call = "", False
    for line in path.read_text(errors="replace").splitlines():
        if line.startswith("fn="):
            number, _, name = line[3:].partition(" ")
            if name:
                names[number] = name
            function = names.get(number, number)
        elif line.startswith("cfn="):
            number, _, name = line[4:].partition(" ")
            if name:
                names[number] = name
        elif line.startswith("calls="):
            is_call = True
        elif line[:1].isdigit() or line[:1] in "+-*":
            if not is_call:
                cost = line.split()
                counts[function] += int(cost[1]) if len(cost) > 1 else 0
            is_call = False
    return counts


def run(binary: str, upstream_port: int, case: str, times: int, store: pathlib.Path | None = None) -> tuple[Counts, int]:
    """Returns the counts of the worker by function, and the sum of all threads. The configuration is
    that of this program, or a copy of the embedded store in the folder `store`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "gateway.yaml")
        budgets = budgets_of(case)
        config.write_text(with_budgets(CONFIG.format(port=upstream_port, key=KEY), budgets))
        command = ["valgrind", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={folder}/out"]
        place = ["--config", str(config)]
        if store:
            place = ["--data-dir", str(shutil.copytree(store, f"{folder}/store"))]
        command += [binary, "serve", *place, "--host", "127.0.0.1", "--port", str(port)]
        command += ["--workers", "1", "--driver", "epoll"]
        env = {**os.environ, "REQUEST_LOG_ENABLED": "false", "LOG_LEVEL": "warn", "SHUTDOWN_DELAY_SECS": "0"}
        if WITH_JSONL:
            env |= {"JSONL_LOG_ENABLED": "true", "JSONL_LOG_PATH": f"{folder}/log.jsonl"}
        # The sums of budgets are there.
        env |= {"DATA_DIR": f"{folder}/data"}
        with open(f"{folder}/log", "w+") as log:
            gateway = subprocess.Popen(command, env=env, stdout=log, stderr=log)
            try:
                if budgets:
                    warm_up(gateway, port, case)
                ask(port, case, times)
            finally:
                gateway.send_signal(signal.SIGTERM)
                gateway.wait(120)
        threads = [read(path) for path in pathlib.Path(folder).glob("out-*")]
    return max(threads, key=lambda counts: sum(n for name, n in counts.items() if "proxy::conn" in name or "monoio" in name)), sum(
        sum(counts.values()) for counts in threads
    )


def main() -> None:
    file = take_file(BASELINE)
    binary = sys.argv[1]
    options = {option for option in sys.argv[2:] if option.startswith("--")}
    cases = [case for case in sys.argv[2:] if case in CASES] or list(CASES)
    port, env, known, grown = upstream(), environment(), read_counts(file), []
    for case in cases:
        few, few_all = run(binary, port, case, FEW)
        more, more_all = run(binary, port, case, MORE)
        more.subtract(few)
        times = MORE - FEW
        counted = sum(more.values()) // times
        before = known.get((env, case))
        change = f"{(counted - before) / before:+.1%}" if before else "not known"
        print(f"{case:20} worker {counted:>8}  all {(more_all - few_all) // times:>8}  {change}", flush=True)
        if "--by-function" in options:
            for name, n in more.most_common(int(os.environ.get("ROWS", "60"))):
                print(f"    {n / times:9.0f}  {name}")
        if before and counted > before * (1 + LIMIT) and IS_PLAIN:
            grown.append(case)
        if "--update" in options and IS_PLAIN:
            known[(env, case)] = counted
    if "--update" in options:
        rows = [f"{env}\t{case}\t{n}\n" for (env, case), n in sorted(known.items())]
        file.write_text("# compiler and vectors, case, instructions of the worker for one request\n" + "".join(rows))
    if grown:
        sys.exit(f"grown by more than {LIMIT:.0%}: {', '.join(grown)}")


if __name__ == "__main__":
    main()
