"""pydantic-ai: an agent by the models ``openai:`` (responses) and ``openai-chat:``, led here by the environment."""

import os

from calls import V1, serve, weather
from pydantic_ai import Agent

os.environ["OPENAI_BASE_URL"] = V1


def agent(order, model):
    os.environ["OPENAI_API_KEY"] = order["key"]
    return Agent(f"{model}:gpt-4o-mini")


async def whole(order, model):
    return {"text": (await agent(order, model).run(order["prompt"])).output}


async def stream(order, model):
    async with agent(order, model).run_stream(order["prompt"]) as running:
        pieces = [piece async for piece in running.stream_text(delta=True, debounce_by=None)]
    return {"text": "".join(pieces), "pieces": len(pieces)}


async def tools(order, model):
    able, used = agent(order, model), []

    @able.tool_plain
    def get_weather(city: str) -> str:
        """The weather in a city."""
        used.append("get_weather")
        return weather("Rome")

    return {"text": (await able.run(order["prompt"])).output, "tools": used}


serve(
    {
        f"{api}/{call.__name__}": lambda order, call=call, model=model: call(order, model)
        for api, model in (("chat", "openai-chat"), ("responses", "openai"))
        for call in (whole, stream, tools)
    }
)
