"""llm: its command, with a model of extra-openai-models.yaml, and a tool in a file."""

import os
from pathlib import Path

from calls import V1, serve
from terminal import command

LLM = f"{os.environ.get('CLIENT')}/bin/llm"
TOOL = '''
def get_weather(city: str) -> str:
    """The weather in a city."""
    return "21 degrees in Rome"
'''


def asked(order, api, *options):
    folder = Path.cwd() / "llm"
    folder.mkdir(exist_ok=True)
    (folder / "extra-openai-models.yaml").write_text(
        f"- model_id: piapi\n  model_name: gpt-4o-mini\n  api_base: {V1}\n  api_key_name: piapi\n"
        "  supports_tools: true\n" + ("  responses: true\n" if api == "responses" else "")
    )
    environment = {"LLM_USER_PATH": str(folder), "OPENAI_API_KEY": order["key"]}
    return command([LLM, "-m", "piapi", "--key", order["key"], *options, order["prompt"]], environment)


def whole(order, api):
    return {"text": asked(order, api, "--no-stream")}


def stream(order, api):
    return {"text": asked(order, api)}


def tools(order, api):
    return {"text": asked(order, api, "--functions", TOOL), "tools": ["get_weather"]}


serve(
    {
        f"{api}/{call.__name__}": lambda order, call=call, api=api: call(order, api)
        for api in ("chat", "responses")
        for call in (whole, stream, tools)
    }
)
