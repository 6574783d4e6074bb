"""What goes wrong, as the SDKs tell it: the exception that a program catches, and whether it is tried again."""

import anthropic
import httpx2
import openai
import pytest

from asked import HELLO
from stack import USUAL


class Chat:
    """The calls of the tests below on Chat Completions."""

    sdk, kind = openai, "chat"

    def __init__(self, stack, **settings):
        defaults = {"base_url": f"{stack.url}/v1", "api_key": stack.key, "max_retries": 0, "timeout": 30}
        self.client = openai.OpenAI(**{**defaults, **settings})

    def ask(self, model):
        return self.client.chat.completions.create(model=model, messages=HELLO).choices[0].message.content

    def stream(self, model):
        for chunk in self.client.chat.completions.create(model=model, messages=HELLO, stream=True):
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content


class Responses(Chat):
    """The same on Responses."""

    kind = "responses"

    def ask(self, model):
        return self.client.responses.create(model=model, input="Hello").output_text

    def stream(self, model):
        for event in self.client.responses.create(model=model, input="Hello", stream=True):
            if event.type == "response.output_text.delta":
                yield event.delta
            # The SDK raises for an event `error`; this one it hands on to the program.
            elif event.type == "response.failed":
                raise openai.APIError(event.response.error.message, httpx2.Request("POST", "/"), body=None)


class Messages:
    """The same on Messages."""

    sdk, kind = anthropic, "messages"

    def __init__(self, stack, **settings):
        defaults = {"base_url": stack.url, "api_key": stack.key, "max_retries": 0, "timeout": 30}
        self.client = anthropic.Anthropic(**{**defaults, **settings})

    def ask(self, model):
        return self.client.messages.create(model=model, max_tokens=100, messages=HELLO).content[0].text

    def stream(self, model):
        with self.client.messages.stream(model=model, max_tokens=10_000, messages=HELLO) as stream:
            yield from stream.text_stream


every_format = pytest.mark.parametrize("format", [Chat, Responses, Messages])


@every_format
def test_rate_limit_of_the_provider(format, stack):
    with pytest.raises(format.sdk.RateLimitError) as error:
        format(stack).ask("mock-429")
    assert error.value.status_code == 429
    assert error.value.response.headers["retry-after"] == "1"
    assert "Rate limit reached" in str(error.value)
    assert error.value.request_id


@every_format
@pytest.mark.parametrize("status", [500, 503, 529])
def test_server_errors_keep_their_status(format, stack, status):
    with pytest.raises(format.sdk.InternalServerError) as error:
        format(stack).ask(f"mock-{status}")
    assert error.value.status_code == status


@every_format
def test_the_sdk_tries_again(format, stack):
    before = stack.requests(format.kind)
    with pytest.raises(format.sdk.InternalServerError):
        format(stack, max_retries=1).ask("mock-500")
    assert stack.requests(format.kind) == before + 2


@every_format
def test_bad_request_is_not_tried_again(format, stack):
    before = stack.requests(format.kind)
    with pytest.raises(format.sdk.BadRequestError):
        format(stack, max_retries=2).ask("mock-400")
    assert stack.requests(format.kind) == before + 1


@every_format
def test_unknown_key(format, stack):
    with pytest.raises(format.sdk.AuthenticationError) as error:
        format(stack, api_key="sk-unknown").ask("mock")
    assert "not known to this gateway" in str(error.value)


@every_format
def test_the_providers_key_is_not_the_clients_business(format, stack):
    with pytest.raises(format.sdk.InternalServerError) as error:
        format(stack).ask("mock-401")
    assert error.value.status_code == 502
    assert "refused its key" in str(error.value)


@every_format
def test_unknown_model(format, stack):
    with pytest.raises(format.sdk.NotFoundError) as error:
        format(stack).ask("nobody-serves-this")
    assert "nobody-serves-this" in str(error.value)


@every_format
def test_model_not_allowed(format, stack):
    narrow = format(stack, api_key=stack.narrow_key)
    assert narrow.ask("mock-small") == USUAL
    with pytest.raises(format.sdk.PermissionDeniedError) as error:
        narrow.ask("mock-large")
    assert "mock-large" in str(error.value)


@every_format
def test_rate_limit_of_the_gateway(format, stack):
    limited = format(stack, api_key=stack.limited_keys[format.kind])
    with pytest.raises(format.sdk.RateLimitError) as error:
        # More than one in a second, even on a slow machine.
        for _ in range(100):
            limited.ask("mock")
    headers = error.value.response.headers
    family = "anthropic-ratelimit-requests-remaining" if format is Messages else "x-ratelimit-remaining-requests"
    assert (headers["retry-after"], headers[family]) == ("1", "0")


@every_format
def test_timeout_before_the_answer(format, stack):
    before = stack.closed_early()
    with pytest.raises(format.sdk.APITimeoutError):
        format(stack, timeout=0.5).ask("mock-stall")
    stack.wait_for_close(before)


@every_format
def test_timeout_in_a_stream(format, stack):
    before = stack.closed_early()
    seen = []
    with pytest.raises((format.sdk.APITimeoutError, httpx2.ReadTimeout)):
        # Long enough for the first half on a slow machine.
        for piece in format(stack, timeout=2).stream("mock-stall"):
            seen.append(piece)
    assert seen and USUAL.startswith("".join(seen))
    stack.wait_for_close(before)


@every_format
@pytest.mark.parametrize("fault", ["error-mid", "reset", "truncate", "garbage"])
def test_a_stream_that_breaks_is_an_error(format, fault, stack):
    seen = []
    with pytest.raises(format.sdk.APIError):
        for piece in format(stack).stream(f"mock-{fault}"):
            seen.append(piece)
    assert seen and USUAL.startswith("".join(seen)) and "".join(seen) != USUAL


@every_format
def test_a_stream_that_fails_before_content_is_a_status(format, stack):
    with pytest.raises(format.sdk.APIStatusError) as error:
        list(format(stack).stream("mock-error-first"))
    assert error.value.status_code >= 500


@every_format
def test_no_provider_answers(format, stack):
    with pytest.raises(format.sdk.InternalServerError) as error:
        format(stack).ask("mock-reset")
    assert error.value.status_code == 502
