"""What stands in a provider's request, whatever its format."""

import json


def tools(format, body):
    """The tools by their names."""
    if format == "chat":
        return {tool["function"]["name"]: tool["function"] for tool in body["tools"]}
    return {tool.get("name", tool.get("type")): tool for tool in body["tools"]}


def blocks(body, role=None):
    """All content blocks of a Messages request, or those of one role."""
    messages = [m for m in body["messages"] if role in (None, m["role"])]
    return [block for m in messages if isinstance(m["content"], list) for block in m["content"]]


def calls(format, body):
    """The calls of tools by their ids: name and arguments."""
    if format == "chat":
        functions = [(c["id"], c["function"]) for m in body["messages"] for c in m.get("tool_calls") or []]
        return {id: (function["name"], json.loads(function["arguments"])) for id, function in functions}
    if format == "messages":
        return {b["id"]: (b["name"], b["input"]) for b in blocks(body) if b["type"] == "tool_use"}
    items = [item for item in body["input"] if item.get("type") == "function_call"]
    return {item["call_id"]: (item["name"], json.loads(item["arguments"])) for item in items}


def results(format, body):
    """The results of tools by their call's ids, as they stand there: a string, or a list of parts.
    """
    if format == "chat":
        return {m["tool_call_id"]: m["content"] for m in body["messages"] if m["role"] == "tool"}
    if format == "messages":
        return {b["tool_use_id"]: b.get("content", "") for b in blocks(body) if b["type"] == "tool_result"}
    outputs = ("function_call_output", "custom_tool_call_output")
    return {item["call_id"]: item["output"] for item in body["input"] if item.get("type") in outputs}


def reasoning(format, body):
    """What the model is reminded to have thought: texts, and seals where there are any."""
    if format == "chat":
        # As vLLM calls it.
        return [m["reasoning"] for m in body["messages"] if "reasoning" in m]
    if format == "messages":
        return [(b["thinking"], b["signature"]) for b in blocks(body) if b["type"] == "thinking"]
    items = [item for item in body["input"] if item.get("type") == "reasoning"]
    return [("".join(part["text"] for part in item["summary"]), item["encrypted_content"]) for item in items]


def images(format, body):
    """The places of the images, in words."""
    found = []
    if format == "responses":
        for item in body["input"]:
            parts = item.get("output") if "output" in item else item.get("content")
            if isinstance(parts, list) and any(part["type"] == "input_image" for part in parts):
                found.append(item["type"])
        return found
    for message in body["messages"]:
        for part in message["content"] if isinstance(message["content"], list) else []:
            if part["type"] in ("image", "image_url"):
                found.append(message["role"])
            if part["type"] == "tool_result" and "image" in [p["type"] for p in part["content"] if isinstance(p, dict)]:
                found.append("tool_result")
    return found
