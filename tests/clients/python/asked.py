"""What the tests ask for, in terms that every format shares."""

from pydantic import BaseModel

HELLO = [{"role": "user", "content": "Hello"}]

# A tool's schema, and the arguments that the mock makes up for it.
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
WEATHER_ARGUMENTS = {"city": "some city", "days": 1}


class Step(BaseModel):
    title: str
    minutes: int


class Recipe(BaseModel):
    name: str
    vegetarian: bool
    steps: list[Step]


# The answer that the mock makes up for the schema of `Recipe`.
RECIPE = Recipe(name="some name", vegetarian=True, steps=[Step(title="some title", minutes=1)])


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

# What the mock says when it thinks, and when it declines.
THOUGHTS = "Nothing to think about: the words are fixed"
REFUSAL = "I'm sorry, but I can't help."


def provider_of(model, own):
    """The format of the provider that serves a name; `own` is the client's."""
    return model.partition("/")[0] if "/" in model else own
