"""What goes wrong, as the SDKs tell it: the exception that a program catches, and whether it is
tried again.

What goes wrong at a provider is tested over every route; what the gateway refuses by itself, once
for each client.
"""

import anthropic
import httpx2
import openai
import pytest

from asked import HELLO
from conftest import ROUTES
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


every_format = pytest.mark.parametrize("format", [Chat, Responses, Messages], ids=lambda format: format.kind)


def every_route(test):
    """Runs a test for each client and each of its routes: `format` is the client's, `model` a name
    that takes more words.
    """
    routes = [
        pytest.param(format, model, provider, id=f"{format.kind}-{provider}")
        for format in (Chat, Responses, Messages)
        for provider, model in ROUTES.items()
    ]
    return pytest.mark.parametrize("format, model, provider", routes)(test)


def translated(format, provider):
    return provider not in ("same", format.kind)


def asked_of(format, provider, stack):
    """How many requests have reached the provider of a route."""
    return stack.requests(format.kind if provider == "same" else provider)


@every_route
def test_rate_limit_of_the_provider(format, model, provider, stack):
    with pytest.raises(format.sdk.RateLimitError) as error:
        format(stack).ask(f"{model}-429")
    assert error.value.status_code == 429
    assert error.value.response.headers["retry-after"] == "1"
    assert "Rate limit reached" in str(error.value)
    assert error.value.request_id


@every_route
@pytest.mark.parametrize("status", [500, 503, 529])
def test_server_errors_keep_their_status(format, model, provider, status, stack):
    with pytest.raises(format.sdk.InternalServerError) as error:
        format(stack).ask(f"{model}-{status}")
    # Each vendor has its own word for an overload: 529 is Anthropic's, 503 OpenAI's.
    if translated(format, provider) and status != 500:
        status = 529 if format is Messages else 503
    assert error.value.status_code == status


@every_route
def test_the_sdk_tries_again(format, model, provider, stack):
    before = asked_of(format, provider, stack)
    with pytest.raises(format.sdk.InternalServerError):
        format(stack, max_retries=1).ask(f"{model}-500")
    assert asked_of(format, provider, stack) == before + 2


@every_route
def test_bad_request_is_not_tried_again(format, model, provider, stack):
    before = asked_of(format, provider, stack)
    with pytest.raises(format.sdk.BadRequestError) as error:
        format(stack, max_retries=2).ask(f"{model}-400")
    assert "The mock was asked to refuse this request" in str(error.value)
    assert asked_of(format, provider, stack) == before + 1


@every_format
def test_unknown_key(format, stack):
    with pytest.raises(format.sdk.AuthenticationError) as error:
        format(stack, api_key="sk-unknown").ask("mock")
    assert "not known to this gateway" in str(error.value)


@every_route
def test_the_providers_key_is_not_the_clients_business(format, model, provider, stack):
    with pytest.raises(format.sdk.InternalServerError) as error:
        format(stack).ask(f"{model}-401")
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


@every_route
def test_timeout_before_the_answer(format, model, provider, stack):
    before = stack.closed_early()
    with pytest.raises(format.sdk.APITimeoutError):
        format(stack, timeout=2).ask(f"{model}-stall")
    stack.wait_for_close(before)


@every_route
def test_timeout_in_a_stream(format, model, provider, stack):
    before = stack.closed_early()
    seen = []
    with pytest.raises((format.sdk.APITimeoutError, httpx2.ReadTimeout)):
        # Long enough for the first half on a slow machine.
        for piece in format(stack, timeout=2).stream(f"{model}-stall"):
            seen.append(piece)
    assert seen and USUAL.startswith("".join(seen))
    stack.wait_for_close(before)


@every_route
@pytest.mark.parametrize("fault", ["error-mid", "reset", "truncate", "garbage"])
def test_a_stream_that_breaks_is_an_error(format, model, provider, fault, stack):
    seen = []
    with pytest.raises(format.sdk.APIError):
        for piece in format(stack).stream(f"{model}-{fault}"):
            seen.append(piece)
    assert seen and USUAL.startswith("".join(seen)) and "".join(seen) != USUAL


@every_route
def test_a_stream_that_fails_before_content_is_a_status(format, model, provider, stack):
    with pytest.raises(format.sdk.APIStatusError) as error:
        list(format(stack).stream(f"{model}-error-first"))
    assert error.value.status_code >= 500


@every_route
def test_no_provider_answers(format, model, provider, stack):
    with pytest.raises(format.sdk.InternalServerError) as error:
        format(stack).ask(f"{model}-reset")
    assert error.value.status_code == 502
