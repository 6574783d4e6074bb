"""What the vendors demand of a request, as far as agents get near it: each rule broken is a
complaint in words.

The names of the fields are those of the official SDKs; the order of turns and the forms of ids and
names are what the vendors answer with a 400.
"""

import re
import typing

from anthropic.types import message_create_params
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params

import reading

NAME = {"chat": r"[A-Za-z0-9_-]{1,64}", "messages": r"[A-Za-z0-9_-]{1,128}", "responses": r"[A-Za-z0-9_-]{1,64}"}
FIELDS = {
    # The last one is vLLM's.
    "chat": {*typing.get_type_hints(completion_create_params.CompletionCreateParamsStreaming), "chat_template_kwargs"},
    "messages": set(typing.get_type_hints(message_create_params.MessageCreateParamsStreaming)),
    "responses": set(typing.get_type_hints(response_create_params.ResponseCreateParamsStreaming)),
}


def complaints(format, body):
    unknown = sorted(set(body) - FIELDS[format])
    found = [f"unknown field {name}" for name in unknown]
    tools = [tool["function"] if format == "chat" else tool for tool in body.get("tools", [])]
    names = [tool.get("name", tool.get("type")) for tool in tools]
    found += [f"illegal name of a tool {name!r}" for name in names if not re.fullmatch(NAME[format], str(name))]
    found += [f"two tools are called {name!r}" for name in set(names) if names.count(name) > 1]
    if "tool_choice" in body and not names:
        found.append("tool_choice without tools")
    return found + {"chat": chat, "messages": messages, "responses": responses}[format](body)


def chat(body):
    """Every call is answered right behind it; nothing stands between the answers. As templates of
    vLLM want it, there is one system
    message at the head, and the others take turns."""
    found, open_calls, last = [], [], None
    if [at for at, message in enumerate(body["messages"]) if message["role"] == "system"] != [0]:
        found.append("not one system message at the head")
    for message in body["messages"]:
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                found.append(f"a result of nobody's call {message['tool_call_id']}")
            else:
                open_calls.remove(message["tool_call_id"])
            last = "tool"
            continue
        if open_calls:
            found.append(f"a {message['role']} message before the results of {open_calls}")
        if message["role"] == last:
            found.append(f"two {last} messages in a row")
        last = message["role"]
        open_calls = [call["id"] for call in message.get("tool_calls") or []]
        if message["role"] != "assistant" and not message.get("content"):
            found.append(f"a {message['role']} message without content")
    return found + ([f"calls without results: {open_calls}"] if open_calls else [])


def messages(body):
    """User and assistant in turn, results first and all of them, no blank text."""
    found, calls, last = [], [], None
    if not isinstance(body.get("max_tokens"), int):
        found.append("no max_tokens")
    for message in body["messages"]:
        role, content = message["role"], message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if role == last and role != "system":
            found.append(f"two {role} messages in a row")
        if role == "system" and last != "user":
            found.append(f"a system message behind {last}")
        found += ["a blank text block" for block in blocks if block["type"] == "text" and not block["text"].strip()]
        if role == "user":
            head = [b["tool_use_id"] for b in blocks[: len(calls)] if b["type"] == "tool_result"]
            if sorted(head) != sorted(calls):
                found.append(f"results {head} do not stand first for the calls {calls}")
        if role != "system":
            calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
            last = role
    if body["messages"][-1]["role"] == "assistant":
        found.append("a prefilled answer")
    return found


def responses(body):
    """Functions say whether they are strict; no ids of others; every output has its call and every
    call its output.
    """
    found = []
    for tool in body.get("tools", []):
        if tool["type"] == "function" and not isinstance(tool.get("strict"), bool):
            found.append(f"{tool['name']} does not say whether it is strict")
    items = [item for item in body["input"] if isinstance(item, dict)]
    found += [f"an id on a {item.get('type')}" for item in items if "id" in item]
    calls = [item["call_id"] for item in items if str(item.get("type")).endswith("_call")]
    outputs = list(reading.results("responses", body))
    if sorted(calls) != sorted(outputs):
        found.append(f"calls {calls} and outputs {outputs} do not match")
    return found
