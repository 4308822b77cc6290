"""langchain-openai: ChatOpenAI over chats, and over responses."""

from calls import V1, serve, weather
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return weather("Rome")


def model(order, responses):
    return ChatOpenAI(model="gpt-4o-mini", base_url=V1, api_key=order["key"], use_responses_api=responses, timeout=30)


def whole(order, responses):
    answer = model(order, responses).invoke(order["prompt"])
    assert answer.usage_metadata["total_tokens"] > 0
    return {"text": answer.text}


def stream(order, responses):
    pieces = [chunk.text for chunk in model(order, responses).stream(order["prompt"])]
    pieces = list(filter(None, pieces))
    return {"text": "".join(pieces), "pieces": len(pieces)}


def tools(order, responses):
    able, messages, used = model(order, responses).bind_tools([get_weather]), [HumanMessage(order["prompt"])], []
    while True:
        answer = able.invoke(messages)
        if not answer.tool_calls:
            return {"text": answer.text, "tools": used}
        messages.append(answer)
        for call in answer.tool_calls:
            used.append(call["name"])
            messages.append(ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"]))


serve(
    {
        f"{api}/{call.__name__}": lambda order, call=call, api=api: call(order, api == "responses")
        for api in ("chat", "responses")
        for call in (whole, stream, tools)
    }
)
