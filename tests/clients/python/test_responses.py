"""The `openai` SDK on Responses."""

import asyncio
import json

import openai
import pytest

from asked import PIXEL, RECIPE, REFUSAL, THOUGHTS, WEATHER, WEATHER_ARGUMENTS, Recipe, provider_of
from stack import USUAL

TOOL = {"type": "function", "name": "weather", "description": "Tells it", "parameters": WEATHER, "strict": True}


def test_plain(openai_client, responses_model):
    answer = openai_client.responses.create(model=responses_model, input="Hello", store=False)
    assert (answer.status, answer.output_text, answer.model) == ("completed", USUAL, responses_model)
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert answer._request_id


def test_stream(openai_client, responses_model):
    model = f"{responses_model}-tokens-200"
    with openai_client.responses.create(model=model, input="Hello", stream=True) as stream:
        events = list(stream)
    assert events[0].type == "response.created" and events[-1].type == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    final = events[-1].response
    assert text == final.output_text and text.count("upstream") == 12
    assert {event.response.model for event in events if hasattr(event, "response")} == {model}
    assert final.usage.output_tokens == 200


def test_stream_helper(openai_client, responses_model):
    with openai_client.responses.stream(model=responses_model, input="Hello") as stream:
        types = [event.type for event in stream]
        final = stream.get_final_response()
    assert types.count("response.output_text.delta") > 1
    assert final.output_text == USUAL


def test_tool_round_trip(openai_client, responses_model, stack):
    hello = {"role": "user", "content": "Hello"}
    first = openai_client.responses.create(model=responses_model, input=[hello], tools=[TOOL])
    [call] = first.output
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "weather", WEATHER_ARGUMENTS)

    result = {"type": "function_call_output", "call_id": call.call_id, "output": '{"sky":"blue"}'}
    second = openai_client.responses.create(
        model=f"{responses_model}-echo", input=[hello, call.model_dump(), result], tools=[TOOL]
    )
    assert second.output_text == "Hello"
    assert "blue" in json.dumps(stack.last()["body"])


def test_parallel_tools_streamed(openai_client, responses_model):
    with openai_client.responses.stream(model=f"{responses_model}-parallel", input="Hello", tools=[TOOL]) as stream:
        final = stream.get_final_response()
    calls = [item for item in final.output if item.type == "function_call"]
    assert [json.loads(call.arguments) for call in calls] == [WEATHER_ARGUMENTS] * 2
    assert len({call.call_id for call in calls}) == 2


def test_reasoning(openai_client, responses_model):
    answer = openai_client.responses.create(
        model=responses_model,
        input="Hello",
        reasoning={"effort": "low", "summary": "auto"},
        include=["reasoning.encrypted_content"],
        store=False,
    )
    reasoning = [item for item in answer.output if item.type == "reasoning"]
    assert len(reasoning) == 1 and answer.output_text == USUAL
    assert answer.usage.output_tokens_details.reasoning_tokens == 9
    # A Chat provider shows its thoughts themselves, and seals none
    # (`docs/internals/translation/reasoning.md`, "What a client sees of a provider's reasoning").
    if provider_of(responses_model, "responses") == "chat":
        assert reasoning[0].content[0].text == THOUGHTS and not reasoning[0].encrypted_content
    else:
        assert reasoning[0].summary[0].text == THOUGHTS and reasoning[0].encrypted_content


def test_custom_tool_round_trip(openai_client, responses_model, stack):
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
    tool = {"type": "custom", "name": "patch", "description": "Takes a patch", "format": grammar}
    hello = {"role": "user", "content": "Hello"}
    asked = {"model": responses_model, "tools": [tool]}
    [call] = openai_client.responses.create(input=[hello], **asked).output
    with openai_client.responses.stream(input=[hello], **asked) as stream:
        deltas = [event.delta for event in stream if event.type == "response.custom_tool_call_input.delta"]
        [streamed] = stream.get_final_response().output
    assert (call.type, call.name, call.input) == (streamed.type, streamed.name, streamed.input)
    assert (call.type, call.name) == ("custom_tool_call", "patch")
    assert "".join(deltas) == call.input
    # The mock makes up the input of a tool with a schema from that, and of a tool without one like
    # this.
    native = provider_of(responses_model, "responses") == "responses"
    assert call.input == ("some input\nin two lines" if native else "some input")

    result = {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "patched"}
    turns = [hello, call.model_dump(exclude_none=True), result]
    assert openai_client.responses.create(input=turns, **asked).output_text == USUAL
    assert "patched" in json.dumps(stack.last()["body"])


def test_refusal(openai_client, responses_model):
    answer = openai_client.responses.create(model=f"{responses_model}-refusal", input="Hello")
    if provider_of(responses_model, "responses") == "messages":
        # A stop reason there, without words (`docs/internals/translation/responses.md`,
        # "Refusals").
        assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "content_filter")
    else:
        [part] = answer.output[0].content
        assert (answer.status, part.type, part.refusal) == ("completed", "refusal", REFUSAL)


def test_length(openai_client, responses_model):
    answer = openai_client.responses.create(model=responses_model, input="Hello", max_output_tokens=16)
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert answer.output_text == USUAL[:-1]


def test_cached_tokens(openai_client, responses_model):
    usage = openai_client.responses.create(model=f"{responses_model}-cached", input="Hello").usage
    assert usage.input_tokens_details.cached_tokens == usage.input_tokens // 2 > 0


def test_image(openai_client, responses_model, stack):
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"}
    turn = {"role": "user", "content": [{"type": "input_text", "text": "What is it?"}, image]}
    assert openai_client.responses.create(model=f"{responses_model}-echo", input=[turn]).output_text == "What is it?"
    assert PIXEL in json.dumps(stack.last()["body"])


def test_what_the_vendor_would_keep(openai_client, responses_model):
    asked = {"model": responses_model, "input": "Hello", "previous_response_id": "resp_1"}
    if provider_of(responses_model, "responses") == "responses":
        assert openai_client.responses.create(**asked).output_text == USUAL
        return
    # The state is the vendor's who made the answer before (`docs/internals/translation.md`,
    # "Refused instead of dropped").
    with pytest.raises(openai.BadRequestError) as error:
        openai_client.responses.create(**asked)
    assert error.value.param == "previous_response_id"


def test_parse(openai_client, responses_model):
    answer = openai_client.responses.parse(model=responses_model, input="Hello", text_format=Recipe)
    assert answer.output_parsed == RECIPE


def test_parse_streamed(openai_client, responses_model):
    with openai_client.responses.stream(model=responses_model, input="Hello", text_format=Recipe) as stream:
        assert stream.get_final_response().output_parsed == RECIPE


def test_input_tokens(openai_client, responses_model):
    assert openai_client.responses.input_tokens.count(model=responses_model, input="Hello").input_tokens > 0


def test_async(openai_settings, responses_model):
    async def run():
        async with openai.AsyncOpenAI(**openai_settings) as client:
            answer = await client.responses.create(model=responses_model, input="Hello")
            async with client.responses.stream(model=responses_model, input="Hello") as stream:
                return answer.output_text, (await stream.get_final_response()).output_text

    assert asyncio.run(run()) == (USUAL, USUAL)
