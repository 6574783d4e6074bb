"""The `openai` SDK on Chat Completions."""

import asyncio
import json

import openai
import pytest

from asked import HELLO, PIXEL, RECIPE, REFUSAL, THOUGHTS, WEATHER, WEATHER_ARGUMENTS, Recipe, provider_of
from stack import UPSTREAM_KEY, USUAL

TOOL = {"type": "function", "function": {"name": "weather", "description": "Tells it", "parameters": WEATHER}}


def test_plain(openai_client, chat_model):
    answer = openai_client.chat.completions.create(model=chat_model, messages=HELLO)
    [choice] = answer.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", USUAL, "stop")
    assert answer.model == chat_model
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer._request_id


def test_length(openai_client, chat_model):
    # One token less than it would say; a Responses provider takes no limit below 16.
    answer = openai_client.chat.completions.create(model=chat_model, messages=HELLO, max_completion_tokens=16)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (USUAL[:-1], "length")


def test_stream(openai_client, chat_model):
    with openai_client.chat.completions.create(
        model=f"{chat_model}-tokens-200", messages=HELLO, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.startswith(USUAL + " The mock") and text.count("upstream") == 12
    assert {chunk.model for chunk in chunks} == {f"{chat_model}-tokens-200"}
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 200
    assert sum(chunk.usage is not None for chunk in chunks) == 1


def test_stream_helper(openai_client, chat_model):
    with openai_client.chat.completions.stream(model=chat_model, messages=HELLO) as stream:
        types = [event.type for event in stream]
        final = stream.get_final_completion()
    assert types.count("content.delta") > 1 and types.count("content.done") == 1
    assert final.choices[0].message.content == USUAL


def test_tool_round_trip(openai_client, chat_model, stack):
    first = openai_client.chat.completions.create(model=chat_model, messages=HELLO, tools=[TOOL])
    choice = first.choices[0]
    [call] = choice.message.tool_calls
    assert (choice.finish_reason, call.type, call.function.name) == ("tool_calls", "function", "weather")
    assert json.loads(call.function.arguments) == WEATHER_ARGUMENTS

    result = {"role": "tool", "tool_call_id": call.id, "content": '{"sky":"blue"}'}
    second = openai_client.chat.completions.create(
        model=f"{chat_model}-echo", messages=[*HELLO, choice.message, result], tools=[TOOL]
    )
    assert (second.choices[0].message.content, second.choices[0].finish_reason) == ("Hello", "stop")
    assert "blue" in json.dumps(stack.last()["body"])


def test_parallel_tools_streamed(openai_client, chat_model):
    with openai_client.chat.completions.stream(
        model=f"{chat_model}-parallel", messages=HELLO, tools=[TOOL], parallel_tool_calls=True
    ) as stream:
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert [json.loads(call.function.arguments) for call in calls] == [WEATHER_ARGUMENTS] * 2
    assert len({call.id for call in calls}) == 2
    assert final.choices[0].finish_reason == "tool_calls"


def test_reasoning(openai_client, chat_model):
    asked = {"model": chat_model, "messages": HELLO, "reasoning_effort": "low"}
    answer = openai_client.chat.completions.create(**asked)
    message = answer.choices[0].message
    assert (message.reasoning_content, message.content) == (THOUGHTS, USUAL)
    assert answer.usage.completion_tokens_details.reasoning_tokens == 9
    with openai_client.chat.completions.create(**asked, stream=True) as stream:
        deltas = [chunk.choices[0].delta for chunk in stream if chunk.choices]
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == THOUGHTS
    assert "".join(delta.content or "" for delta in deltas) == USUAL


def test_refusal(openai_client, chat_model):
    answer = openai_client.chat.completions.create(model=f"{chat_model}-refusal", messages=HELLO)
    [choice] = answer.choices
    if provider_of(chat_model, "chat") == "messages":
        # Messages has a stop reason for it, whose explanation is the refusal.
        assert choice.finish_reason == "content_filter"
    else:
        assert (choice.message.refusal, choice.finish_reason) == (REFUSAL, "stop")
    assert not choice.message.content


def test_cached_tokens(openai_client, chat_model):
    usage = openai_client.chat.completions.create(model=f"{chat_model}-cached", messages=HELLO).usage
    assert usage.prompt_tokens_details.cached_tokens == usage.prompt_tokens // 2 > 0


def test_image(openai_client, chat_model, stack):
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    turn = {"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}
    answer = openai_client.chat.completions.create(model=f"{chat_model}-echo", messages=[turn])
    assert answer.choices[0].message.content == "What is it?"
    assert PIXEL in json.dumps(stack.last()["body"])


def test_two_answers_at_once(openai_client, chat_model):
    asked = {"model": chat_model, "messages": HELLO, "n": 2}
    if provider_of(chat_model, "chat") == "chat":
        assert openai_client.chat.completions.create(**asked).choices[0].message.content == USUAL
        return
    # No other format has more than one answer (`docs/internals/translation.md`, "Refused instead of
    # dropped").
    with pytest.raises(openai.BadRequestError) as error:
        openai_client.chat.completions.create(**asked)
    assert (error.value.param, error.value.code) == ("n", "unsupported_parameter")


def test_logprobs(openai_client, chat_model, stack):
    asked = {"model": chat_model, "messages": HELLO, "logprobs": True, "top_logprobs": 2, "reasoning_effort": "none"}
    raw = openai_client.chat.completions.with_raw_response.create(**asked)
    assert raw.parse().choices[0].message.content == USUAL
    body = stack.last()["body"]
    # Messages has none: left out, and said so (`docs/internals/translation.md`, "Losses").
    if provider_of(chat_model, "chat") == "messages":
        assert "top_logprobs" not in body and "logprobs;dropped" in raw.headers["x-llm-proxy-dropped"]
    else:
        assert body["top_logprobs"] == 2


def test_parse(openai_client, chat_model):
    answer = openai_client.chat.completions.parse(model=chat_model, messages=HELLO, response_format=Recipe)
    assert answer.choices[0].message.parsed == RECIPE


def test_parse_streamed(openai_client, chat_model):
    with openai_client.chat.completions.stream(model=chat_model, messages=HELLO, response_format=Recipe) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == RECIPE


def test_async(openai_settings, chat_model):
    async def run():
        async with openai.AsyncOpenAI(**openai_settings) as client:
            answer = await client.chat.completions.create(model=chat_model, messages=HELLO)
            stream = await client.chat.completions.create(model=chat_model, messages=HELLO, stream=True)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
            return answer.choices[0].message.content, text

    assert asyncio.run(run()) == (USUAL, USUAL)


@pytest.mark.parametrize("base", ["", "/v1", "/v2"])
def test_base_urls(openai_settings, stack, base):
    with openai.OpenAI(**{**openai_settings, "base_url": stack.url + base}) as client:
        assert client.chat.completions.create(model="mock", messages=HELLO).choices[0].message.content == USUAL


def test_what_reaches_the_provider(openai_client, stack):
    body = {"model": "mock", "messages": HELLO, "temperature": 0.25, "a_field_of_tomorrow": {"x": [1.0, "é"]}}
    openai_client.chat.completions.create(
        model="mock", messages=HELLO, temperature=0.25, extra_body={"a_field_of_tomorrow": {"x": [1.0, "é"]}}
    )
    last = stack.last()
    assert (last["path"], last["body"]) == ("/v1/chat/completions", body)
    assert last["headers"]["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert stack.key not in json.dumps(last)
