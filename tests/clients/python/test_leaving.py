"""A program that loses interest: the provider must not go on to produce, and charge for, what
nobody reads.
"""

import asyncio

import anthropic
import openai
import pytest

from asked import HELLO

# Some 40 seconds, of which a test hears the first few events.
LONG = "-tokens-2000-interval-20"


def chat(client, model):
    return client.chat.completions.create(model=model + LONG, messages=HELLO, stream=True)


def responses(client, model):
    return client.responses.create(model=model + LONG, input="Hello", stream=True)


def messages(client, model):
    return client.messages.create(model=model + LONG, max_tokens=2000, messages=HELLO, stream=True)


def test_chat_closes_its_stream(openai_client, chat_model, stack):
    check_close(chat(openai_client, chat_model), stack)


def test_responses_closes_its_stream(openai_client, responses_model, stack):
    check_close(responses(openai_client, responses_model), stack)


def test_messages_closes_its_stream(anthropic_client, messages_model, stack):
    check_close(messages(anthropic_client, messages_model), stack)


def check_close(stream, stack):
    before = stack.closed_early()
    for _ in range(5):
        next(stream)
    stream.close()
    stack.wait_for_close(before)


def test_chat_task_is_cancelled(openai_settings, chat_model, stack):
    check_cancel(lambda: openai.AsyncOpenAI(**openai_settings), chat, chat_model, stack)


def test_responses_task_is_cancelled(openai_settings, responses_model, stack):
    check_cancel(lambda: openai.AsyncOpenAI(**openai_settings), responses, responses_model, stack)


def test_messages_task_is_cancelled(anthropic_settings, messages_model, stack):
    check_cancel(lambda: anthropic.AsyncAnthropic(**anthropic_settings), messages, messages_model, stack)


def check_cancel(new_client, ask, model, stack):
    before = stack.closed_early()

    async def run():
        async with new_client() as client:
            heard = asyncio.Event()

            async def read():
                async for _ in await ask(client, model):
                    heard.set()

            task = asyncio.create_task(read())
            await asyncio.wait_for(heard.wait(), 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # The client is still open: it is the answer that was given up.
            await asyncio.to_thread(stack.wait_for_close, before)

    asyncio.run(run())


def test_the_client_goes_on_after_a_stream_it_left(openai_client, chat_model):
    with chat(openai_client, chat_model) as stream:
        next(stream)
    assert openai_client.chat.completions.create(model=chat_model, messages=HELLO).choices[0].finish_reason == "stop"
