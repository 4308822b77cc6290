"""openai-agents: an agent with a tool, over responses (its default) and over chats."""

import base64

from agents import (
    Agent,
    ImageGenerationTool,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from calls import V1, serve, weather
from openai import AsyncOpenAI

set_tracing_disabled(True)


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return weather("Rome")


def agent(order, model, tools=()):
    client = AsyncOpenAI(base_url=V1, api_key=order["key"], timeout=30)
    return Agent(
        "assistant", instructions="Be brief.", model=model("gpt-4o-mini", client), tools=list(tools),
        model_settings=ModelSettings(include_usage=True),
    )  # fmt: skip


async def whole(order, model):
    done = await Runner.run(agent(order, model), order["prompt"])
    return {"text": done.final_output}


async def stream(order, model):
    running, pieces = Runner.run_streamed(agent(order, model), order["prompt"]), 0
    async for event in running.stream_events():
        pieces += event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    return {"text": running.final_output, "pieces": pieces}


async def tools(order, model):
    running = Runner.run_streamed(agent(order, model, [get_weather]), order["prompt"])
    told = [event async for event in running.stream_events() if event.type == "run_item_stream_event"]
    used = [event.item.raw_item.name for event in told if event.name == "tool_called"]
    return {"text": running.final_output, "tools": used}


async def picture(order):
    tool = ImageGenerationTool({"type": "image_generation", "model": "gpt-image-2"})
    done = await Runner.run(agent(order, OpenAIResponsesModel, [tool]), order["prompt"])
    made = [item.raw_item for item in done.new_items if item.type == "tool_call_item"]
    return {"pictures": [len(base64.b64decode(item.result)) for item in made]}


serve(
    {
        "image_generation/picture": picture,
        **{
            f"{api}/{call.__name__}": lambda order, call=call, model=model: call(order, model)
            for api, model in (("chat", OpenAIChatCompletionsModel), ("responses", OpenAIResponsesModel))
            for call in (whole, stream, tools)
        },
    }
)
