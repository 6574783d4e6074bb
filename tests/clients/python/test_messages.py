"""The `anthropic` SDK."""

import asyncio
import json

import anthropic
import pytest

from asked import HELLO, PIXEL, RECIPE, REFUSAL, THOUGHTS, WEATHER, WEATHER_ARGUMENTS, Recipe, provider_of
from stack import LISTED, UPSTREAM_KEY, USUAL

TOOL = {"name": "weather", "description": "Tells it", "input_schema": WEATHER}


def test_plain(anthropic_client, messages_model):
    answer = anthropic_client.messages.create(model=messages_model, max_tokens=100, messages=HELLO)
    [block] = answer.content
    assert (block.type, block.text, answer.stop_reason) == ("text", USUAL, "end_turn")
    assert answer.model == messages_model
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0
    assert answer._request_id


def test_length(anthropic_client, messages_model):
    # One token less than it would say; a Responses provider takes no limit below 16.
    answer = anthropic_client.messages.create(model=messages_model, max_tokens=16, messages=HELLO)
    assert (answer.content[0].text, answer.stop_reason) == (USUAL[:-1], "max_tokens")


def test_stream(anthropic_client, messages_model):
    model = f"{messages_model}-tokens-200"
    with anthropic_client.messages.create(model=model, max_tokens=500, messages=HELLO, stream=True) as stream:
        events = list(stream)
    assert events[0].type == "message_start" and events[0].message.model == model
    assert events[-1].type == "message_stop"
    text = "".join(event.delta.text for event in events if event.type == "content_block_delta")
    assert text.startswith(USUAL + " The mock") and text.count("upstream") == 12
    [delta] = [event for event in events if event.type == "message_delta"]
    assert (delta.delta.stop_reason, delta.usage.output_tokens) == ("end_turn", 200)


def test_stream_helper(anthropic_client, messages_model):
    with anthropic_client.messages.stream(model=messages_model, max_tokens=100, messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == final.content[0].text == USUAL
    assert final.stop_reason == "end_turn"


def test_tool_round_trip(anthropic_client, messages_model, stack):
    first = anthropic_client.messages.create(model=messages_model, max_tokens=100, messages=HELLO, tools=[TOOL])
    [call] = first.content
    assert (first.stop_reason, call.type, call.name, call.input) == (
        *("tool_use", "tool_use", "weather"),
        WEATHER_ARGUMENTS,
    )

    result = {"type": "tool_result", "tool_use_id": call.id, "content": '{"sky":"blue"}'}
    turns = [
        *HELLO,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result, {"type": "text", "text": "And now?"}]},
    ]
    second = anthropic_client.messages.create(
        model=f"{messages_model}-echo", max_tokens=100, messages=turns, tools=[TOOL]
    )
    assert (second.content[0].text, second.stop_reason) == ("And now?", "end_turn")
    assert "blue" in json.dumps(stack.last()["body"])


def test_parallel_tools_streamed(anthropic_client, messages_model):
    with anthropic_client.messages.stream(
        model=f"{messages_model}-parallel", max_tokens=100, messages=HELLO, tools=[TOOL]
    ) as stream:
        final = stream.get_final_message()
    calls = [block for block in final.content if block.type == "tool_use"]
    assert [call.input for call in calls] == [WEATHER_ARGUMENTS] * 2
    assert len({call.id for call in calls}) == 2


def test_thinking(anthropic_client, messages_model):
    with anthropic_client.messages.stream(
        model=messages_model, max_tokens=5000, messages=HELLO, thinking={"type": "enabled", "budget_tokens": 2000}
    ) as stream:
        final = stream.get_final_message()
    thinking, text = final.content
    assert (thinking.type, thinking.thinking, text.text) == ("thinking", THOUGHTS, USUAL)
    # What a Chat provider thought is signed by nobody (`docs/internals/translation/reasoning.md`,
    # "What a client sees of a provider's reasoning").
    assert bool(thinking.signature) == (provider_of(messages_model, "messages") != "chat")


def test_thinking_goes_back(anthropic_client, messages_model, stack):
    asked = {"max_tokens": 5000, "tools": [TOOL], "thinking": {"type": "enabled", "budget_tokens": 2000}}
    first = anthropic_client.messages.create(model=messages_model, messages=HELLO, **asked)
    assert [block.type for block in first.content] == ["thinking", "tool_use"]
    result = {"type": "tool_result", "tool_use_id": first.content[1].id, "content": "blue"}
    turns = [*HELLO, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = anthropic_client.messages.create(model=messages_model, messages=turns, **asked)
    assert second.content[-1].text == USUAL
    body = stack.last()["body"]
    match provider_of(messages_model, "messages"):
        case "chat":
            # As OpenRouter wants it.
            sent = [entry["summary"] for m in body["messages"] for entry in m.get("reasoning_details", [])]
        case "messages":
            sent = [block["thinking"] for block in body["messages"][1]["content"] if block["type"] == "thinking"]
        case "responses":
            [item] = [item for item in body["input"] if item.get("type") == "reasoning"]
            assert item["encrypted_content"] and "llmp1" not in item["encrypted_content"] and "id" not in item
            sent = [item["summary"][0]["text"]]
    assert sent == [THOUGHTS]


def test_refusal(anthropic_client, messages_model):
    answer = anthropic_client.messages.create(model=f"{messages_model}-refusal", max_tokens=100, messages=HELLO)
    assert answer.stop_reason == "refusal"
    # At the other providers the words of a refusal are an answer of their own kind, here its text.
    if provider_of(messages_model, "messages") != "messages":
        assert answer.content[0].text == REFUSAL


def test_cached_tokens(anthropic_client, messages_model):
    answer = anthropic_client.messages.create(model=f"{messages_model}-cached", max_tokens=100, messages=HELLO)
    # Cached tokens are not part of the others, as they are at OpenAI.
    assert 0 <= answer.usage.input_tokens - answer.usage.cache_read_input_tokens <= 1
    assert answer.usage.cache_read_input_tokens > 0


def test_image_from_a_tool(anthropic_client, messages_model, stack):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    turns = [
        *HELLO,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [image]}]},
    ]
    answer = anthropic_client.messages.create(
        model=messages_model, max_tokens=100, messages=turns, tools=[TOOL], tool_choice={"type": "none"}
    )
    assert answer.content[0].text == USUAL
    assert PIXEL in json.dumps(stack.last()["body"])


def test_parse(anthropic_client, messages_model):
    answer = anthropic_client.messages.parse(
        model=messages_model, max_tokens=500, messages=HELLO, output_format=Recipe
    )
    assert answer.parsed_output == RECIPE


def test_count_tokens(anthropic_client, messages_model):
    assert anthropic_client.messages.count_tokens(model=messages_model, messages=HELLO).input_tokens > 0


def test_model_list(anthropic_client):
    [model] = anthropic_client.models.list()
    assert (model.id, model.type) == (LISTED, "model")


def test_model_by_name(anthropic_client):
    for name in [LISTED, "mock-429"]:
        assert anthropic_client.models.retrieve(name).id == name
    with pytest.raises(anthropic.NotFoundError):
        anthropic_client.models.retrieve("nobody-serves-this")


def test_beta(anthropic_client, stack):
    betas = ["context-1m-2025-08-07", "files-api-2025-04-14"]
    # The query is what Claude Code and older versions of the SDK send.
    answer = anthropic_client.beta.messages.create(
        model="mock", max_tokens=100, messages=HELLO, betas=betas, extra_query={"beta": "true"}
    )
    assert answer.content[0].text == USUAL
    last = stack.last()
    assert last["path"] == "/v1/messages?beta=true"
    assert [beta.strip() for beta in last["headers"]["anthropic-beta"].split(",")] == betas


def test_async(anthropic_settings, messages_model):
    async def run():
        async with anthropic.AsyncAnthropic(**anthropic_settings) as client:
            answer = await client.messages.create(model=messages_model, max_tokens=100, messages=HELLO)
            async with client.messages.stream(model=messages_model, max_tokens=100, messages=HELLO) as stream:
                return answer.content[0].text, (await stream.get_final_message()).content[0].text

    assert asyncio.run(run()) == (USUAL, USUAL)


@pytest.mark.parametrize("base", ["", "/v2"])
def test_base_urls(anthropic_settings, stack, base):
    with anthropic.Anthropic(**{**anthropic_settings, "base_url": stack.url + base}) as client:
        answer = client.messages.create(model="mock", max_tokens=100, messages=HELLO)
        assert answer.content[0].text == USUAL


def test_bearer(anthropic_settings, stack):
    settings = {**anthropic_settings, "api_key": None, "auth_token": stack.key}
    with anthropic.Anthropic(**settings) as client:
        assert client.messages.create(model="mock", max_tokens=100, messages=HELLO).content[0].text == USUAL


def test_what_reaches_the_provider(anthropic_client, stack):
    anthropic_client.messages.create(
        model="mock",
        max_tokens=100,
        messages=HELLO,
        metadata={"user_id": "u"},
        extra_headers={"anthropic-version": "2023-06-01", "x-unknown": "stays here"},
    )
    last = stack.last()
    assert last["path"] == "/v1/messages"
    assert last["body"] == {"model": "mock", "max_tokens": 100, "messages": HELLO, "metadata": {"user_id": "u"}}
    assert last["headers"]["x-api-key"] == UPSTREAM_KEY
    assert last["headers"]["anthropic-version"] == "2023-06-01" and "x-unknown" not in last["headers"]
    assert stack.key not in json.dumps(last)
