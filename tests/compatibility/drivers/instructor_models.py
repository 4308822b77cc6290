"""instructor: answers as objects, by a tool (over chats) and over responses."""

import instructor
import openai
from calls import V1, serve, weather
from pydantic import BaseModel, field_validator


class Report(BaseModel):
    """A report."""

    summary: str
    stars: int


def client(order, mode):
    plain = openai.OpenAI(base_url=V1, api_key=order["key"], timeout=30)
    return instructor.from_openai(plain, mode=mode)


def asked(order):
    return [{"role": "user", "content": order["prompt"]}]


def whole(order, mode):
    made = client(order, mode).create(model="gpt-4o-mini", response_model=Report, messages=asked(order))
    assert made.stars is not None
    return {"text": made.summary}


def stream(order, mode):
    running = client(order, mode).create_partial(model="gpt-4o-mini", response_model=Report, messages=asked(order))
    states = [made.summary for made in running]
    return {"text": states[-1], "pieces": len(states)}


def tools(order, mode):
    """The model's call of the tool is found wanting once; it is told so as the tool's answer, and calls again."""
    checked = []

    class Checked(Report):
        @field_validator("stars")
        @classmethod
        def second_time_is_better(cls, stars):
            checked.append("Checked")
            if len(checked) < 2:
                raise ValueError(weather("Rome"))
            return stars

    made = client(order, mode).create(model="gpt-4o-mini", response_model=Checked, messages=asked(order), max_retries=2)
    return {"text": made.summary, "tools": checked}


serve(
    {
        f"{api}/{call.__name__}": lambda order, call=call, mode=mode: call(order, mode)
        for api, mode in (("chat", instructor.Mode.TOOLS), ("responses", instructor.Mode.RESPONSES_TOOLS))
        for call in (whole, stream, tools)
    }
)
