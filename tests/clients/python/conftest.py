import anthropic
import openai
import pytest

from stack import FORMATS, Stack

# How a client's model names begin: with nothing, the gateway relays to the provider of the client's
# own format; with a provider's name, to that one, and the model is renamed on the way. Every test
# of an answer's content runs over all of them, so that each of the three clients reaches each of
# the three providers, and its own once more byte for byte.
ROUTES = {"same": "mock", **{provider: f"{provider}/mock" for provider in FORMATS}}


def pytest_generate_tests(metafunc):
    for format in FORMATS:
        fixture = f"{format}_model"
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, ROUTES.values(), ids=[f"{format}-{provider}" for provider in ROUTES])


@pytest.fixture(scope="session")
def stack():
    stack = Stack()
    yield stack
    stack.stop()


# One try each: a test that expects an error should not wait for another.


@pytest.fixture
def openai_settings(stack):
    return {"base_url": f"{stack.url}/v1", "api_key": stack.key, "max_retries": 0, "timeout": 30}


@pytest.fixture
def anthropic_settings(stack):
    return {"base_url": stack.url, "api_key": stack.key, "max_retries": 0, "timeout": 30}


@pytest.fixture
def openai_client(openai_settings):
    with openai.OpenAI(**openai_settings) as client:
        yield client


@pytest.fixture
def anthropic_client(anthropic_settings):
    with anthropic.Anthropic(**anthropic_settings) as client:
        yield client
