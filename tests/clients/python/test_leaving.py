"""A program that loses interest: the provider must not go on to produce, and charge for, what nobody reads."""

import asyncio

import anthropic
import openai
import pytest

from asked import HELLO

# Some 40 seconds, of which a test hears the first few events.
LONG = "mock-tokens-2000-interval-20"


def chat(client):
    return client.chat.completions.create(model=LONG, messages=HELLO, stream=True)


def responses(client):
    return client.responses.create(model=LONG, input="Hello", stream=True)


def messages(client):
    return client.messages.create(model=LONG, max_tokens=2000, messages=HELLO, stream=True)


@pytest.mark.parametrize("ask", [chat, responses])
def test_openai_closes_its_stream(ask, openai_client, stack):
    check_close(ask(openai_client), stack)


def test_anthropic_closes_its_stream(anthropic_client, stack):
    check_close(messages(anthropic_client), stack)


def check_close(stream, stack):
    before = stack.closed_early()
    for _ in range(5):
        next(stream)
    stream.close()
    stack.wait_for_close(before)


@pytest.mark.parametrize("ask", [chat, responses])
def test_openai_task_is_cancelled(ask, openai_settings, stack):
    check_cancel(lambda: openai.AsyncOpenAI(**openai_settings), ask, stack)


def test_anthropic_task_is_cancelled(anthropic_settings, stack):
    check_cancel(lambda: anthropic.AsyncAnthropic(**anthropic_settings), messages, stack)


def check_cancel(new_client, ask, stack):
    before = stack.closed_early()

    async def run():
        async with new_client() as client:
            heard = asyncio.Event()

            async def read():
                async for _ in await ask(client):
                    heard.set()

            task = asyncio.create_task(read())
            await asyncio.wait_for(heard.wait(), 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # The client is still open: it is the answer that was given up.
            await asyncio.to_thread(stack.wait_for_close, before)

    asyncio.run(run())


def test_the_client_goes_on_after_a_stream_it_left(openai_client):
    with chat(openai_client) as stream:
        next(stream)
    assert openai_client.chat.completions.create(model="mock", messages=HELLO).choices[0].finish_reason == "stop"
