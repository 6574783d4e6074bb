"""The published schemas, as `llm-comply` holds endpoints to them: Open Responses, OpenAI's chat and Anthropic's messages, each from
providers of each format. What the gateway writes itself has every field that the schemas require, streams and their snapshots too.
"""

import pytest
from llm_comply import runner, schema
from llm_comply.cli import _SPEC_FILES, _get_tests
from llm_comply.config import ComplianceConfig

from stack import FORMATS

# The suite of each client's format, and how its clients sign.
SUITES = {
    "chat": ("openai-chat", {}),
    "messages": (
        "anthropic",
        {
            "auth_header": "x-api-key",
            "use_bearer_prefix": False,
            "extra_headers": {"anthropic-version": "2023-06-01"},
        },
    ),
    "responses": ("open-responses", {}),
}

# The suites ask only models of these names to think.
THINKER = {"chat": "gpt-5", "messages": "claude-sonnet-4", "responses": "gpt-5"}


def specification(suite):
    return schema.SpecLoader(f"{schema._SPECS_DIR / _SPEC_FILES[suite]}")


@pytest.mark.parametrize("provider", FORMATS)
@pytest.mark.parametrize("client", FORMATS)
def test_every_required_field_is_there(stack, client, provider):
    suite, settings = SUITES[client]
    model = f"mock-{THINKER[client]}" if client == provider else f"{provider}/{THINKER[client]}"
    config = ComplianceConfig(base_url=f"{stack.url}/v1", api_key=stack.key, model=model, **settings)
    done = runner.TestRunner(config=config, test_cases=_get_tests(suite), spec_loader=specification(suite)).run_all()
    # No test of a suite may be left out: its reason would be the model's name.
    wrong = [f"{test.id}: {test.status.value} {test.errors[:3]}" for test in done.results if test.status.value != "passed"]
    assert not wrong and done.results, "\n".join(wrong)
