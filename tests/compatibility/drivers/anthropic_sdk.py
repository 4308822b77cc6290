"""Anthropic's SDK for Python, over Claude's Messages."""

from anthropic import Anthropic
from calls import BASE_URL, serve, weather

MODEL = "claude-sonnet-4-20250514"
TOOL = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def client(order):
    return Anthropic(base_url=BASE_URL, api_key=order["key"], timeout=30)


def asked(order):
    return [{"role": "user", "content": order["prompt"]}]


def whole(order):
    answer = client(order).messages.create(model=MODEL, max_tokens=500, messages=asked(order))
    assert answer.usage.output_tokens > 0
    return {"text": answer.content[0].text, "finish": answer.stop_reason}


def stream(order):
    with client(order).messages.stream(model=MODEL, max_tokens=500, messages=asked(order)) as running:
        pieces = list(running.text_stream)
        final = running.get_final_message()
    assert final.content[0].text == "".join(pieces)
    return {"text": final.content[0].text, "pieces": len(pieces)}


def tools(order):
    messages, used = asked(order), []
    while True:
        answer = client(order).messages.create(model=MODEL, max_tokens=500, messages=messages, tools=[TOOL])
        calls = [block for block in answer.content if block.type == "tool_use"]
        if not calls:
            return {"text": answer.content[0].text, "tools": used}
        used += [call.name for call in calls]
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": weather("Rome")} for call in calls]
        messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]


serve({"messages/whole": whole, "messages/stream": stream, "messages/tools": tools})
