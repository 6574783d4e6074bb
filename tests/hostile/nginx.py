#!/usr/bin/env python3
"""Sends the same hostile bytes to the gateway and to nginx, each in front of one provider, and compares.

usage: nginx.py LLM_PROXY [--update]

For each row of CASES it notes the statuses of the responses, in their order, and how many requests
reached the provider. A difference between the two must have its reason in REASONS, and a reason must
have its difference; otherwise this fails. `--update` writes docs/internals/hostile-requests.md.
"""

import argparse
import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/internals/hostile-requests.md"
KEY = "sk-hostile-0123456789abcdef"
BODY = b'{"model":"m","messages":[{"role":"user","content":"x"}]}'
ANSWER = json.dumps({
    "id": "c", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}).encode()
# How long a response is waited for. Both servers wait less for what does not come.
PATIENCE = 4.0

LENGTH = b"content-length: %d\r\n" % len(BODY)
CHUNKED = b"transfer-encoding: chunked\r\n"
CHUNK = b"%x\r\n%s\r\n" % (len(BODY), BODY)
END = b"0\r\n\r\n"
# What an attacker would like the provider to take for a request.
HIDDEN = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + KEY.encode() + b"\r\n" + LENGTH + b"\r\n" + BODY


def request(headers=b"", body=BODY, line=b"POST /v1/chat/completions HTTP/1.1\r\n", host=b"host: x\r\n"):
    kind = b"content-type: application/json\r\nauthorization: Bearer " + KEY.encode() + b"\r\n"
    return line + host + kind + headers + b"\r\n" + body


def length(value):
    return request(b"content-length: " + value + b"\r\n")


def coding(value, body=CHUNK + END):
    return request(b"transfer-encoding: " + value + b"\r\n", body)


def chunks(body):
    return request(CHUNKED, body)


def line(text):
    return request(LENGTH, line=text + b"\r\n")


def host(text):
    return request(LENGTH, host=text)


def header(text):
    return request(LENGTH + text + b"\r\n")


SIZE = b"%x" % len(BODY)
CASES = [
    ("well formed", request(LENGTH)),
    ("well formed, chunked", chunks(CHUNK + END)),
    ("two requests at once", request(LENGTH) + request(LENGTH)),
    # Framing: where does the body end?
    ("content-length and chunked, a request behind the last chunk", request(b"content-length: 5\r\n" + CHUNKED, END + HIDDEN)),
    ("chunked and content-length, the length being right", request(CHUNKED + b"content-length: %d\r\n" % len(CHUNK + END), CHUNK + END)),
    ("content-length twice, equal", request(LENGTH + LENGTH)),
    ("content-length twice, different", request(LENGTH + b"content-length: 5\r\n")),
    ("content-length: a list of equal numbers", length(b"%d, %d" % (len(BODY), len(BODY)))),
    ("content-length: a sign", length(b"+%d" % len(BODY))),
    ("content-length: negative", length(b"-1")),
    ("content-length: hexadecimal", length(b"0x38")),
    ("content-length: empty", length(b"")),
    ("content-length: two numbers", length(b"5 5")),
    ("content-length: beyond 64 bits", length(b"99999999999999999999")),
    ("content-length: leading zeros", length(b"000%d" % len(BODY))),
    ("content-length: white space before the colon", request(b"content-length : %d\r\n" % len(BODY))),
    ("content-length: in the next line (folded)", request(b"content-length:\r\n %d\r\n" % len(BODY))),
    ("no length, bytes behind the head", request(b"")),
    ("transfer-encoding: Chunked, in capitals", coding(b"CHUNKED")),
    ("transfer-encoding: an unknown coding", coding(b"xchunked")),
    ("transfer-encoding: identity", coding(b"identity")),
    ("transfer-encoding: chunked, identity", coding(b"chunked, identity")),
    ("transfer-encoding: gzip, chunked", coding(b"gzip, chunked")),
    ("transfer-encoding: chunked twice in a list", coding(b"chunked, chunked")),
    ("transfer-encoding: chunked in two lines", request(CHUNKED + CHUNKED, CHUNK + END)),
    ("transfer-encoding: a vertical tab", coding(b"\x0bchunked")),
    ("transfer-encoding: white space before the colon", request(b"transfer-encoding : chunked\r\n", CHUNK + END)),
    ("transfer-encoding: folded", request(b"transfer-encoding:\r\n chunked\r\n", CHUNK + END)),
    ("transfer-encoding: with HTTP/1.0", request(CHUNKED, CHUNK + END, b"POST /v1/chat/completions HTTP/1.0\r\n")),
    ("chunk: an extension", chunks(SIZE + b";a=b\r\n" + BODY + b"\r\n" + END)),
    ("chunk: a line feed in an extension", chunks(SIZE + b";a\n\r\n" + BODY + b"\r\n" + END)),
    ("chunk: a sign", chunks(b"+" + CHUNK + END)),
    ("chunk: 0x", chunks(b"0x" + CHUNK + END)),
    ("chunk: white space behind the size", chunks(SIZE + b" \r\n" + BODY + b"\r\n" + END)),
    ("chunk: the size ends with a bare line feed", chunks(SIZE + b"\n" + BODY + b"\r\n" + END)),
    ("chunk: the data end with a bare line feed", chunks(SIZE + b"\r\n" + BODY + b"\n" + END)),
    ("chunk: the data end with nothing", chunks(SIZE + b"\r\n" + BODY + END)),
    ("chunk: no size", chunks(b"\r\n" + BODY + b"\r\n" + END)),
    ("chunk: a size beyond 64 bits", chunks(b"fffffffffffffffff\r\n" + BODY + b"\r\n" + END)),
    ("chunk: leading zeros", chunks(b"000" + CHUNK + END)),
    ("chunk: no end", chunks(CHUNK)),
    ("trailers", chunks(CHUNK + b"0\r\nx-trailer: y\r\n\r\n")),
    ("trailers: content-length", chunks(CHUNK + b"0\r\ncontent-length: 5\r\n\r\n")),
    ("trailers: no colon", chunks(CHUNK + b"0\r\nnonsense\r\n\r\n")),
    # The head.
    ("lines end with bare line feeds", request(LENGTH).replace(b"\r\n", b"\n")),
    ("one line ends with a bare line feed", header(b"x-a: b\nx-c: d")),
    ("a bare carriage return in a value", header(b"x-a: b\rx-c: d")),
    ("NUL in a value", header(b"x-a: b\0c")),
    ("a control character in a value", header(b"x-a: b\x01c")),
    ("bytes above 127 in a value", header(b"x-a: \xff\xfe")),
    ("a folded value", header(b"x-a: b\r\n c")),
    ("white space before the first header", request(LENGTH, host=b" x-a: b\r\nhost: x\r\n")),
    ("a line without a colon", header(b"nonsense")),
    ("an empty name", header(b": b")),
    ("white space in a name", header(b"x a: b")),
    ("a brace in a name", header(b"x{a: b")),
    ("an underscore in a name", header(b"content_length: 5")),
    ("a head of 100 KB", header(b"x-a: " + b"b" * 100_000)),
    ("200 headers", header(b"\r\n".join(b"x-%d: y" % n for n in range(200)))),
    ("a target of 20 KB", line(b"POST /v1/chat/completions?" + b"a" * 20_000 + b" HTTP/1.1")),
    ("authorization twice", header(b"authorization: Bearer other")),
    ("content-type twice", header(b"content-type: text/plain")),
    ("content-encoding: unknown", header(b"content-encoding: nonsense")),
    ("expect: 100-continue", header(b"expect: 100-continue")),
    ("expect: something else", header(b"expect: nonsense")),
    ("upgrade: h2c", header(b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__")),
    ("connection: names content-length", header(b"connection: content-length")),
    # The request line and the host.
    ("an empty line before the request", b"\r\n" + request(LENGTH)),
    ("two spaces behind the method", line(b"POST  /v1/chat/completions HTTP/1.1")),
    ("a tab behind the method", line(b"POST\t/v1/chat/completions HTTP/1.1")),
    ("white space before the method", line(b" POST /v1/chat/completions HTTP/1.1")),
    ("white space behind the version", line(b"POST /v1/chat/completions HTTP/1.1 ")),
    ("a method in lower case", line(b"post /v1/chat/completions HTTP/1.1")),
    ("no version (HTTP/0.9)", b"GET /health\r\n\r\n"),
    ("HTTP/1.0 without a host", request(LENGTH, line=b"POST /v1/chat/completions HTTP/1.0\r\n", host=b"")),
    ("HTTP/1.2", line(b"POST /v1/chat/completions HTTP/1.2")),
    ("HTTP/2.0", line(b"POST /v1/chat/completions HTTP/2.0")),
    ("HTTP/1.1 and more", line(b"POST /v1/chat/completions HTTP/1.1x")),
    ("HTTP/01.1", line(b"POST /v1/chat/completions HTTP/01.1")),
    ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("a TLS handshake", bytes.fromhex("160301002f0100002b0303") + b"\0" * 40),
    ("absolute form, another host", line(b"POST http://other/v1/chat/completions HTTP/1.1")),
    ("absolute form with a user name", line(b"POST http://u:p@x/v1/chat/completions HTTP/1.1")),
    ("CONNECT", line(b"CONNECT other:443 HTTP/1.1")),
    ("TRACE", request(line=b"TRACE /v1/chat/completions HTTP/1.1\r\n", body=b"")),
    ("OPTIONS *", request(line=b"OPTIONS * HTTP/1.1\r\n", body=b"")),
    ("a target without a slash", line(b"POST v1/chat/completions HTTP/1.1")),
    ("dots in the path", line(b"POST /v1/../v1/chat/completions HTTP/1.1")),
    ("encoded dots in the path", line(b"POST /v1/%2e%2e/v1/chat/completions HTTP/1.1")),
    ("two slashes in the path", line(b"POST //v1//chat/completions HTTP/1.1")),
    ("%00 in the path", line(b"POST /v1/chat/completions%00 HTTP/1.1")),
    ("a fragment", line(b"POST /v1/chat/completions#a HTTP/1.1")),
    ("bytes above 127 in the target", line(b"POST /v1/chat/completions?\xff HTTP/1.1")),
    ("a space in the target", line(b"POST /v1/chat/completions?a b HTTP/1.1")),
    ("no host", host(b"")),
    ("two hosts", host(b"host: x\r\nhost: y\r\n")),
    ("an empty host", host(b"host:\r\n")),
    ("a host with a slash", host(b"host: a/b\r\n")),
    ("a host with a user name", host(b"host: u@x\r\n")),
    ("a host with white space", host(b"host: a b\r\n")),
]

STRICTER = "RFC 9112 forbids it or leaves it open, and two implementations that read it differently make smuggling possible"
CODINGS = "RFC 9112, 6.3: unless `chunked` is the last coding, the end of the body is not known, which is a 400"
PATHS = "Paths are compared as they are sent: nothing is resolved or decoded, so that no other path can be meant"
REASONS = {
    "content-length twice, equal": "RFC 9112, 6.3 allows equal ones to be read as one; the provider is sent one",
    "no length, bytes behind the head": "No length means no body: the gateway finds no request of JSON, nginx passes an empty body on. Both refuse the bytes behind it",
    "transfer-encoding: an unknown coding": CODINGS,
    "transfer-encoding: identity": CODINGS,
    "transfer-encoding: chunked, identity": CODINGS,
    "transfer-encoding: chunked twice in a list": "RFC 9112, 6.1 forbids it: the request is malformed, and no coding is missing",
    "transfer-encoding: a vertical tab": "RFC 9110, 5.5 forbids it: the request is malformed, and no coding is missing",
    "chunk: white space behind the size": STRICTER,
    "chunk: the size ends with a bare line feed": STRICTER,
    "chunk: the data end with a bare line feed": STRICTER,
    "chunk: no end": "The gateway says why it closes",
    "trailers: no colon": STRICTER,
    "lines end with bare line feeds": STRICTER,
    "one line ends with a bare line feed": STRICTER,
    "a control character in a value": "RFC 9110, 5.5 forbids it; nginx passes it on",
    "a line without a colon": "RFC 9112, 5 forbids it; nginx leaves the line out",
    "a brace in a name": "RFC 9110, 5.1 forbids it; nginx leaves the line out",
    "a head of 100 KB": "The same, as 431 (RFC 6585), which names the cause: `MAX_HEAD_BYTES` is 64 KiB",
    "a target of 20 KB": "`MAX_HEAD_BYTES` bounds the head as a whole; nginx has 8 KiB for a line",
    "content-encoding: unknown": "The gateway reads bodies, so it must be able to decode them",
    "expect: 100-continue": "The body is there already: the interim response may be left out (RFC 9110, 10.1.1)",
    "two spaces behind the method": STRICTER,
    "white space behind the version": STRICTER,
    "a method in lower case": "The same: methods are case-sensitive, so the gateway knows the path and not the method",
    "no version (HTTP/0.9)": "The gateway has no HTTP/0.9",
    "HTTP/1.2": "The gateway refuses versions that it does not know",
    "the preface of HTTP/2": "The same, as 505",
    "CONNECT": "The same, as 501",
    "OPTIONS *": "A request about the server, which the gateway answers as a preflight of CORS",
    "dots in the path": PATHS,
    "encoded dots in the path": PATHS,
    "two slashes in the path": PATHS,
    "%00 in the path": "The same: it is no path of the gateway",
    "a fragment": "RFC 9112, 3.2 has no fragment in a target; nginx takes it off",
    "bytes above 127 in the target": "RFC 3986, 2 forbids them; nginx passes them on",
    "an empty host": "RFC 9110, 7.2 allows it for targets without an authority; the gateway routes by no host",
    "a host with a user name": "RFC 9110, 7.2 forbids it; nginx passes it on",
}


class Provider(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    reached = 0
    lock = threading.Lock()

    def log_message(self, *_):
        pass

    def serve(self):
        with Provider.lock:
            Provider.reached += 1
        if self.headers.get("transfer-encoding"):
            while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(ANSWER)

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.serve
        raise AttributeError(name)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit("a server does not start")


def start_nginx(directory, provider):
    port = free_port()
    (directory / "nginx.conf").write_text(f"""
        daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log;
        events {{ worker_connections 256; }}
        http {{
            access_log off; client_header_timeout 1s; client_body_timeout 1s; keepalive_timeout 1s;
            client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
            fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
            server {{
                listen 127.0.0.1:{port};
                location / {{ proxy_http_version 1.1; proxy_set_header connection ""; proxy_pass http://127.0.0.1:{provider}; }}
            }}
        }}""")
    return port, subprocess.Popen(["nginx", "-c", directory / "nginx.conf", "-p", directory], stderr=subprocess.DEVNULL)


def start_gateway(program, directory, provider):
    port = free_port()
    (directory / "gateway.yaml").write_text(json.dumps({
        "providers": [{"provider_key": "p", "provider_type": "openai", "api_base": f"http://127.0.0.1:{provider}/v1",
                       "api_key": "sk-provider"}],
        "credentials": [{"name": "k", "key": KEY}]}))
    settings = {
        "CONFIG_FILE": str(directory / "gateway.yaml"), "DATA_DIR": str(directory / "data"), "LOG_LEVEL": "off",
        "HEADER_READ_TIMEOUT_SECS": "1", "BODY_READ_TIMEOUT_SECS": "1", "KEEPALIVE_TIMEOUT_SECS": "1",
        "MODEL_LIST_SECS": "0", "SHUTDOWN_DELAY_SECS": "0", "RETRY_MAX_WAIT_SECS": "0",
        "ADAPTIVE_ROUTING_ENABLED": "false",
    }
    command = [program, "serve", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return port, subprocess.Popen(command, env=settings, cwd=directory)


def outcome(port, sent):
    """The statuses of the responses to `sent`, and how many requests reached the provider."""
    before = Provider.reached
    received = b""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(PATIENCE)
        try:
            connection.sendall(sent)
            while piece := connection.recv(65536):
                received += piece
        except OSError:
            pass
    # A status line stands at the beginning, or behind a body.
    statuses = re.findall(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?\r\n", received)
    shown = " + ".join(status.decode() for status in statuses)
    if not shown:
        shown = "a response without a head" if received else "closed"
    return shown, Provider.reached - before


def version(program):
    return re.search(r"[\d.]+", subprocess.run([program, "-v"], capture_output=True, text=True).stderr).group()


def document(rows, nginx):
    differing = [row for row in rows if row[1] != row[2]]
    reached = lambda result: f"{result[0]} ({result[1]})"
    intro = (
        f"The same bytes, sent to the gateway and to nginx {nginx} as a reverse proxy, each in front of one provider: "
        f"{len(rows)} requests, of which {len(differing)} are treated differently. A cell has the statuses of the "
        "responses and, in parentheses, how many requests reached the provider. No request reaches the provider twice "
        "but the two that were sent at once. This is made by")
    closing = "which fails if a difference has no reason here, or a reason no difference."
    lines = [
        "# Hostile requests, compared with nginx", "", *textwrap.wrap(intro, 100), "", "```sh",
        "tests/hostile/nginx.py target/debug/llm-proxy --update", "```", "", closing, "",
        "## Different", "", "| request | gateway | nginx | why |", "|---|---|---|---|",
    ]
    lines += [f"| {name} | {reached(a)} | {reached(b)} | {REASONS.get(name, '')} |" for name, a, b in differing]
    lines += ["", "## The same", "", "| request | both |", "|---|---|"]
    lines += [f"| {name} | {reached(a)} |" for name, a, b in rows if a == b]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("program")
    parser.add_argument("--update", action="store_true")
    options = parser.parse_args()
    if not shutil.which("nginx"):
        sys.exit("nginx is missing (Debian package nginx-light or nginx)")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="llm-proxy-hostile-"))
    os.chmod(directory, 0o755)
    provider = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    provider.daemon_threads = True
    threading.Thread(target=provider.serve_forever, daemon=True).start()
    servers = []
    try:
        gateway, process = start_gateway(os.path.abspath(options.program), directory, provider.server_address[1])
        servers.append(process)
        nginx, process = start_nginx(directory, provider.server_address[1])
        servers.append(process)
        wait_for(gateway), wait_for(nginx)
        rows = [(name, outcome(gateway, sent), outcome(nginx, sent)) for name, sent in CASES]
    finally:
        for process in servers:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        shutil.rmtree(directory, ignore_errors=True)
    failures = [] if max(a[1] for name, a, _ in rows if name != "two requests at once") < 2 else ["a hidden request passed"]
    for name, a, b in rows:
        print(f"{name}: gateway {a[0]} ({a[1]}), nginx {b[0]} ({b[1]})")
        if (a != b) != (name in REASONS):
            failures.append(f"{name}: " + ("the difference has no reason" if a != b else "there is no difference any more"))
    if options.update:
        DOCUMENT.write_text(document(rows, version("nginx")))
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
