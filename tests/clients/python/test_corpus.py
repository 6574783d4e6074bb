"""What real providers answered, translated for clients of the two other formats: the SDKs' own
accumulators take every stream, and end with what the whole answer says.

`LLM_PROXY_CORPUS` names a directory with `dev.jsonl`, recorded exchanges; without it these tests
are skipped. Nothing is listened on: `llm-proxy translate batch` makes the answers, and the SDKs
read them from a transport that hands them out.
"""

import json
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import anthropic
import httpx2
import jsonschema_rs
import openai
import pytest
from anthropic.types import Message
from openai.types.chat import ChatCompletion
from openai.types.responses import Response
from llm_comply.schema import SSE_EVENT_TO_SCHEMA

from test_compliance import SUITES, specification
from stack import BINARY, FORMATS

CORPUS = os.environ.get("LLM_PROXY_CORPUS")

# Answers in the corpus as it is today, by the provider's format: fewer mean that something was
# lost.
KEPT = {"chat": 626, "messages": 376, "responses": 621}

# Rows under status 200 that hold no whole answer, or nothing that another format can show (tools of
# Responses alone, approvals, pictures). tests/it/corpus/cross has the former. Clients must get an
# error.
FAILED = {
    *("29a1983244848dba", "b100fe03f7d41779", "dd0feb1915d40853", "44ee567f885761c7", "9da06f9839c73a9e"),
    *("5a6c0f2e69872a22", "ef19d487bdb238d8", "96b14978bb30d0db", "c1fab5af59f434b1", "d1c1d76e5d14f4fc"),
    *("eb6fdd90cfc4ac67", "f536f111f489099c"),
    # apply_patch_call, local_shell_call, computer_call, tool_search_call.
    *("339cad224cc6aa2d", "1a941d94c2dc2214", "9bdd7f897f181a2f", "7e2764baea9c4e94", "c27abd1939628050"),
    *("01e8d5a082a373c8", "582abe92bd888a67", "d30dae661fd4046d", "c981fb6107b6e2e6"),
    # mcp_approval_request.
    *("0bc45a01b17074e4", "0c620d4ee64817e3", "480aac45e2c49e24", "e58657173d91c41a"),
    # image_generation_call.
    *("9393f36b37f36210", "115deec9a9bf09cb"),
}

# What a helper cannot gather from any vendor's stream.
UNGATHERED = {
    ("chat", "7b501bcd652cc9ab"): "a call of a custom tool: the helper of chat knows functions alone",
    ("chat", "4da91ab1c0d4d067"): "a call of a custom tool, as above",
}

pytestmark = pytest.mark.skipif(not CORPUS, reason="LLM_PROXY_CORPUS is not set")


@pytest.fixture(scope="module")
def rows():
    with (Path(CORPUS) / "dev.jsonl").open() as file:
        rows = [json.loads(line) for line in file]
    return [row for row in rows if row["protocol"] in FORMATS and row["status"] == 200]


@pytest.fixture(scope="module")
def translated(rows):
    """The result of each translation by row, client's format, and form (`whole` or `stream`)."""
    keys, lines = [], []
    for row in rows:
        for client in FORMATS:
            for out in ("whole", "stream"):
                if client == row["protocol"]:
                    continue
                keys.append((row["id"], client, out))
                job = {"kind": "stream" if row["stream"] else "response", "out": out, "body": row["response_body"]}
                lines.append(json.dumps({**job, "from": row["protocol"], "to": client}))
    done = subprocess.run(
        [BINARY, "translate", "batch"], input="\n".join(lines), capture_output=True, text=True, check=True
    )
    # `splitlines` would also cut at U+2028, which may stand in a text.
    results = [json.loads(line) for line in done.stdout.split("\n") if line]
    assert len(results) == len(keys)
    return dict(zip(keys, results))


class Transport(httpx2.BaseTransport):
    """Hands out one answer, whatever is asked."""

    def __init__(self, result):
        self.result = result

    def handle_request(self, request):
        body, status = self.result["body"], self.result["status"]
        if isinstance(body, str):
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, text=body)
        return httpx2.Response(status, json=body)


def settings(result):
    client = httpx2.Client(transport=Transport(result))
    return {"api_key": "k", "base_url": "http://translated/v1", "max_retries": 0, "http_client": client}


# The accumulators. Each gives the final object of its format.


def chat(result):
    with openai.OpenAI(**settings(result)) as client:
        try:
            with client.chat.completions.stream(model="m", messages=[]) as stream:
                for _ in stream:
                    pass
                return stream.get_final_completion()
        except openai.LengthFinishReasonError as cut:
            # How the helper tells of an answer that was cut; it holds what was gathered.
            return cut.completion


def messages(result):
    with anthropic.Anthropic(**settings(result)) as client:
        with client.messages.stream(model="m", max_tokens=1, messages=[]) as stream:
            for _ in stream:
                pass
            return stream.get_final_message()


def responses(result):
    with openai.OpenAI(**settings(result)) as client:
        with client.responses.stream(model="m", input="hi") as stream:
            last = None
            for event in stream:
                last = event
            # The helper's own final answer, where it has one: it knows no other end than this.
            return stream.get_final_response() if last.type == "response.completed" else last.response


ACCUMULATORS = {"chat": (chat, ChatCompletion), "messages": (messages, Message), "responses": (responses, Response)}

# Ids that this gateway makes, which are counted up.
MADE = re.compile(r"\b(chatcmpl-|msg_|resp_|rs_|fc_|ctc_|call_)0{16,}\d+")
# What the helpers add of their own, and the numbers of list entries in streams of chat.
ADDED = {"parsed", "parsed_arguments", "parsed_output", "index"}


def plain(model):
    """The object without ids, absent fields, and what SDKs add."""

    def strip(value):
        if isinstance(value, dict):
            return {key: strip(inner) for key, inner in value.items() if key not in ADDED and inner is not None}
        if isinstance(value, list):
            return [strip(inner) for inner in value]
        return MADE.sub(r"\1", value) if isinstance(value, str) else value

    return strip(model.model_dump(mode="json", warnings=False))


def same_in_both(client, final):
    """Takes away what a stream of the format cannot say, or its helper does not gather."""
    if client == "chat":
        # The helper keeps the one of the first chunk, when no provider has told it yet.
        final.pop("service_tier", None)
        for choice in final["choices"]:
            # The first chunk says `""`, before anybody knows that only calls will follow.
            message = choice["message"]
            # Of a whole answer an empty list; a stream has a chunk with what is in it.
            if not message.get("annotations"):
                message.pop("annotations", None)
            if not message.get("content"):
                message.pop("content", None)
            # The helper merges entries of one index, so that text and state become one.
            details = message.pop("reasoning_details", [])
            for name in ("text", "summary", "signature", "data"):
                message[f"reasoning {name}"] = "".join(entry.get(name, "") for entry in details)
    if client == "messages":
        # The helper takes counts alone from `message_delta`.
        for name in ("service_tier", "cache_creation", "inference_geo"):
            final["usage"].pop(name, None)
    return final


def is_raw(block):
    return block.get("type") == "tool_use" and "_raw_arguments" in block.get("input", {})


def without_raw_arguments(message):
    """Arguments that are no JSON: a stream cannot take back what it showed, so there the block says
    less.
    """
    for block in message.get("content", []):
        if block.get("type") == "tool_use":
            block["input"] = None
    return message


@pytest.mark.parametrize("client", FORMATS)
def test_accumulators_end_with_the_whole_answer(rows, translated, client):
    accumulate, model = ACCUMULATORS[client]
    tried, wrong = Counter(), []
    for row in rows:
        if row["protocol"] == client or (client, row["id"]) in UNGATHERED:
            continue
        tried[row["protocol"]] += 1
        whole, stream = (translated[row["id"], client, out] for out in ("whole", "stream"))
        try:
            final = plain(accumulate(stream))
        except (openai.APIError, anthropic.APIError) as error:
            if row["id"] not in FAILED or whole["status"] < 400:
                wrong.append(f"{row['protocol']} {row['id']}: {error!r}")
            continue
        except openai.ContentFilterFinishReasonError:
            # How the helper tells of a refusal. It holds nothing.
            if whole["body"]["choices"][0]["finish_reason"] != "content_filter":
                wrong.append(f"{row['protocol']} {row['id']}: a refusal, where there is none")
            continue
        except Exception as error:
            wrong.append(f"{row['protocol']} {row['id']}: the SDK broke: {error!r}")
            continue
        if row["id"] in FAILED:
            if client != "responses" or final["status"] != "failed":
                wrong.append(f"{row['protocol']} {row['id']}: an answer, where there is none")
            continue
        expected = same_in_both(client, plain(model.model_validate(whole["body"])))
        final = same_in_both(client, final)
        if client == "messages" and any(map(is_raw, expected["content"])):
            final, expected = without_raw_arguments(final), without_raw_arguments(expected)
        if final != expected:
            keys = [key for key in {*final, *expected} if final.get(key) != expected.get(key)]
            shown = [f"{key}: {str(final.get(key))[:300]} != {str(expected.get(key))[:300]}" for key in keys]
            wrong.append(f"{row['protocol']} {row['id']}: {'; '.join(shown)}")
    print(f"{client} accumulator: {dict(tried)} tried, {len(wrong)} wrong")
    assert not wrong, f"{len(wrong)} of {sum(tried.values())}:\n" + "\n".join(wrong[:40])
    ungathered = sum(name == client for name, _ in UNGATHERED)
    assert sum(tried.values()) + ungathered >= sum(KEPT[provider] for provider in FORMATS if provider != client), tried


# The schema of a whole answer, and of each event of a stream.
WHOLE = {"chat": "CreateChatCompletionResponse", "messages": "Message", "responses": "ResponseResource"}
EVENTS = {
    "messages": {
        "message_start": "MessageStartEvent",
        "content_block_start": "ContentBlockStartEvent",
        "content_block_delta": "ContentBlockDeltaEvent",
        "content_block_stop": "ContentBlockStopEvent",
        "message_delta": "MessageDeltaEvent",
        "message_stop": "MessageStopEvent",
    },
    "responses": SSE_EVENT_TO_SCHEMA,
}


# What the documents do not know, or say otherwise than the vendor's own answers, by words of the error.
BEYOND = {
    "chat": {
        "usage: null is not": "OpenAI's own chunks say so where usage was asked for",
        "finish_reason: null is not": "OpenAI's own chunks say so but for the last",
        '"priority" is not one of': "a tier that came later",
        '"function" is a required property': "a call of a custom tool, which came later",
        '"custom" is not one of "function"': "the same",
    },
    "messages": {'"id":"llm_version:0"': "a call has the id that its host gave it, and wants back"},
    "responses": {'"type":"custom_tool_call"': "Open Responses has no custom tools"},
}


def validators(client):
    """A function that gives the validator of a schema by its name."""
    document, made = specification(SUITES[client][0])._spec, {}

    def validator(name):
        if name not in made:
            made[name] = jsonschema_rs.Draft202012Validator({**document, "$ref": f"#/components/schemas/{name}"})
        return made[name]

    return validator


def events_of(client, stream):
    """Each event of a stream that has a schema, with the name of that."""
    for line in stream.split("\n"):
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        event = json.loads(line.removeprefix("data: "))
        if client == "chat":
            if "error" not in event:
                yield "CreateChatCompletionStreamResponse", event
        elif name := EVENTS[client].get(event["type"]):
            yield name, event


@pytest.mark.parametrize("client", FORMATS)
def test_answers_and_events_fit_the_published_schemas(rows, translated, client):
    validator, checked, wrong = validators(client), Counter(), Counter()
    for row in rows:
        if row["protocol"] == client or row["id"] in FAILED:
            continue
        whole, stream = (translated[row["id"], client, out]["body"] for out in ("whole", "stream"))
        for name, value in [(WHOLE[client], whole), *events_of(client, stream if isinstance(stream, str) else "")]:
            checked[name] += 1
            for error in validator(name).iter_errors(value):
                what = f"{name}: {'.'.join(map(str, error.instance_path))}: {error.message[:300]}"
                if not any(words in what for words in BEYOND[client]):
                    wrong[what] += 1
    print(f"{client}: {dict(checked)}, {len(wrong)} wrong")
    assert not wrong, "\n".join(f"{times} x {what}" for what, times in wrong.most_common(40))
    assert checked[WHOLE[client]] >= sum(KEPT[provider] for provider in FORMATS if provider != client) - 2 * len(FAILED)
