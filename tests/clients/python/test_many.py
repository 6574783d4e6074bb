"""Twenty requests at once on one client, over all of its routes in turn, each of which must get its
own answer.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import anthropic
import openai

from asked import HELLO
from conftest import ROUTES

COUNT = 20


def model(number):
    return list(ROUTES.values())[number % len(ROUTES)]


def test_openai_async(openai_settings):
    async def one(client, number):
        name = f"{model(number)}-tokens-{17 * number + 2}-interval-1"
        stream = await client.chat.completions.create(model=name, messages=HELLO, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
        return text.count("mock")

    async def run():
        async with openai.AsyncOpenAI(**openai_settings) as client:
            return await asyncio.gather(*[one(client, number) for number in range(COUNT)])

    assert asyncio.run(run()) == [number + 1 for number in range(COUNT)]


def test_anthropic_async(anthropic_settings):
    async def one(client, number):
        messages = [{"role": "user", "content": f"number {number}"}]
        name = f"{model(number)}-echo-delay-50"
        answer = await client.messages.create(model=name, max_tokens=100, messages=messages)
        return answer.content[0].text

    async def run():
        async with anthropic.AsyncAnthropic(**anthropic_settings) as client:
            return await asyncio.gather(*[one(client, number) for number in range(COUNT)])

    assert asyncio.run(run()) == [f"number {number}" for number in range(COUNT)]


def test_openai_threads(openai_client):
    def one(number):
        name = f"{model(number)}-echo-delay-50"
        return openai_client.responses.create(model=name, input=f"number {number}").output_text

    with ThreadPoolExecutor(COUNT) as pool:
        assert list(pool.map(one, range(COUNT))) == [f"number {number}" for number in range(COUNT)]
