"""A provider that plays a script: its events are the files under `wire/`, written by hand, so that
no code of the gateway stands on both sides of a test.

A script is a list of turns: two calls at once, then one more, then a text. Which turn comes next is
told by the results that the request brings, as a real model would see it. What the agent asks
beside (a title, a summary) offers no tools, and gets a word.
"""

import json
import re
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import reading
import rules

WIRE = Path(__file__).parent / "wire"
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
HOLE = re.compile(r'"<(model|text|name|arguments)(?: (\d))?(?: part (\d))?>"')


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

# What the first turn of the scripts thinks, as it must come back: with the seal that stands there,
# where the format has one.
THOUGHT = {
    "chat": "Two things at once.",
    "messages": ("Two things at once.", "c2lnbmVkIGJ5IG5vYm9keQ=="),
    "responses": ("Two things at once.", "gAAAA-sealed-by-nobody"),
}


@dataclass
class Call:
    name: str
    arguments: dict


class Upstream:
    """Listens until `stop`. `seen` are the bodies of the turns in their order, `asides` the others,
    `complaints` what a vendor would
    have refused."""

    def __init__(self, format, two_calls, call, text):
        self.format = format
        self.turns = [("two-calls", two_calls, ""), ("call", [call], ""), ("text", [], text)]
        self.seen, self.asides, self.complaints, self.headers = [], [], [], []
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                upstream.answer(self, body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, handler, body):
        if handler.path.partition("?")[0] != PATHS[self.format]:
            self.complaints.append(f"nobody knows the path {handler.path}")
            return reply(handler, 404, "application/json", [b'{"error":{"message":"not found","type":"not_found"}}'])
        self.complaints += rules.complaints(self.format, body)
        if body.get("tools"):
            self.seen.append(body)
            self.headers.append({name.lower(): value for name, value in handler.headers.items()})
            results = reading.results(self.format, body)
            kind, calls, text = self.turns[sum(turn in results for turn in ("call_1", "call_3"))]
        else:
            self.asides.append(body)
            kind, calls, text = "text", [], "Aside"
        if not body.get("stream"):
            self.complaints.append("a request without a stream, which no agent sends")
        events = fill((WIRE / f"{self.format}.{kind}.sse").read_text(), body["model"], calls, text)
        reply(handler, 200, "text/event-stream", [f"{event}\n\n".encode() for event in events.split("\n\n") if event])


def fill(events, model, calls, text):
    def value(hole):
        what, number, part = hole.groups()
        if what == "model":
            whole = model
        elif what == "text":
            whole = text
        else:
            call = calls[int(number) - 1]
            whole = call.name if what == "name" else json.dumps(call.arguments)
        return json.dumps(cut(whole, int(part)) if part else whole)

    return HOLE.sub(value, events)


def cut(text, part):
    """The first, second or last third, wherever that cuts: inside of words, and of escapes too."""
    third = len(text) // 3
    return [text[:third], text[third : 2 * third], text[2 * third :]][part - 1]


def reply(handler, status, kind, pieces):
    handler.send_response(status)
    handler.send_header("content-type", kind)
    handler.send_header("transfer-encoding", "chunked")
    handler.end_headers()
    for piece in pieces:
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        handler.wfile.flush()
    handler.wfile.write(b"0\r\n\r\n")
