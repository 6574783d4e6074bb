"""The `openai` SDK on embeddings, models, and completions of old."""

import openai
import pytest

from stack import LISTED, USUAL


@pytest.mark.parametrize("format", ["base64", "float"])
def test_embeddings(openai_client, stack, format):
    # Without a word on the format, the SDK asks for Base64 and decodes it.
    asked = {} if format == "base64" else {"encoding_format": format}
    answer = openai_client.embeddings.create(model="mock", input=["one", "two"], dimensions=8, **asked)
    assert stack.last()["body"]["encoding_format"] == format
    assert [row.index for row in answer.data] == [0, 1]
    for row in answer.data:
        assert len(row.embedding) == 8 and sum(x * x for x in row.embedding) == pytest.approx(1)
    assert answer.model == "mock" and answer.usage.total_tokens > 0


def test_model_list(openai_client):
    [model] = openai_client.models.list().data
    assert (model.id, model.object) == (LISTED, "model")


def test_model_by_name(openai_client):
    for name in [LISTED, "mock-429"]:
        assert openai_client.models.retrieve(name).id == name
    with pytest.raises(openai.NotFoundError):
        openai_client.models.retrieve("nobody-serves-this")


def test_completion(openai_client):
    answer = openai_client.completions.create(model="mock", prompt="Hello")
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == (USUAL, "stop")


def test_completion_streamed(openai_client):
    stream = openai_client.completions.create(model="chat/mock", prompt="Hello", stream=True)
    chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == USUAL
    assert {chunk.model for chunk in chunks} == {"chat/mock"}


def test_what_needs_state_is_not_found(openai_client):
    for call in [
        lambda: openai_client.conversations.create(),
        lambda: openai_client.files.list(),
        lambda: openai_client.batches.list(),
    ]:
        with pytest.raises(openai.NotFoundError) as error:
            call()
        assert error.value.code == "not_supported"


def test_a_response_that_no_provider_keeps_is_not_found(openai_client):
    """The mock keeps none: its own refusal reaches the client."""
    with pytest.raises(openai.NotFoundError):
        openai_client.responses.retrieve("resp_1")
    with pytest.raises(openai.NotFoundError):
        openai_client.responses.delete("resp_1")
