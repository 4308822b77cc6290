"""OpenAI's SDK for Python, old and new: chats, responses, pictures."""

import base64
import io

import openai
from calls import V1, serve, weather

MODEL = "gpt-4o-mini"
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
ABOUT = {"name": "get_weather", "description": "The weather in a city", "parameters": PARAMETERS}


def client(order):
    return openai.OpenAI(base_url=V1, api_key=order["key"], timeout=30)


def asked(order):
    return [{"role": "user", "content": order["prompt"]}]


def chat_whole(order):
    answer = client(order).chat.completions.create(model=MODEL, messages=asked(order))
    assert answer.usage.total_tokens > 0
    return {"text": answer.choices[0].message.content, "finish": answer.choices[0].finish_reason}


def chat_stream(order):
    pieces, usage = [], None
    options = {"include_usage": True}
    stream = client(order).chat.completions.create(
        model=MODEL, messages=asked(order), stream=True, stream_options=options
    )
    for chunk in stream:
        pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        usage = chunk.usage or usage
    assert usage.total_tokens > 0
    return {"text": "".join(pieces), "pieces": len(pieces)}


def chat_tools(order):
    messages, tools, used = asked(order), [{"type": "function", "function": ABOUT}], []
    while True:
        answer = client(order).chat.completions.create(model=MODEL, messages=messages, tools=tools)
        message = answer.choices[0].message
        if not message.tool_calls:
            return {"text": message.content, "tools": used}
        messages.append(message)
        for call in message.tool_calls:
            used.append(call.function.name)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": weather("Rome")})


def responses_whole(order):
    answer = client(order).responses.create(model=MODEL, input=order["prompt"])
    assert answer.usage.total_tokens > 0
    return {"text": answer.output_text, "finish": answer.status}


def responses_stream(order):
    pieces = []
    with client(order).responses.stream(model=MODEL, input=order["prompt"]) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                pieces.append(event.delta)
            if event.type == "response.failed":
                raise RuntimeError(event.response.error.message)
        final = stream.get_final_response()
    assert final.status == "completed"
    assert final.output_text == "".join(pieces)
    return {"text": final.output_text, "pieces": len(pieces)}


def responses_tools(order):
    tools, used = [{"type": "function", "strict": True, **ABOUT}], []
    answer = client(order).responses.create(model=MODEL, input=order["prompt"], tools=tools)
    while calls := [item for item in answer.output if item.type == "function_call"]:
        outputs = []
        for call in calls:
            used.append(call.name)
            outputs.append({"type": "function_call_output", "call_id": call.call_id, "output": weather("Rome")})
        answer = client(order).responses.create(model=MODEL, input=outputs, tools=tools, previous_response_id=answer.id)
    return {"text": answer.output_text, "tools": used}


def responses_picture(order):
    answer = client(order).responses.create(
        model=MODEL, input=order["prompt"], tools=[{"type": "image_generation", "model": "gpt-image-2"}]
    )
    pictures = [item.result for item in answer.output if item.type == "image_generation_call"]
    return {"pictures": [size_of(picture) for picture in pictures]}


def size_of(picture):
    data = base64.b64decode(picture)
    assert data.startswith(b"\x89PNG")
    return len(data)


def pictures_made(order):
    answer = client(order).images.generate(model="gpt-image-2", prompt=order["prompt"], size="1024x1024")
    return {"pictures": [size_of(picture.b64_json) for picture in answer.data]}


def pictures_changed(order):
    made = client(order).images.generate(model="gpt-image-2", prompt=order["prompt"], size="1024x1024")
    file = io.BytesIO(base64.b64decode(made.data[0].b64_json))
    file.name = "lighthouse.png"
    answer = client(order).images.edit(model="gpt-image-2", image=file, prompt="add a boat")
    return {"pictures": [size_of(picture.b64_json) for picture in answer.data]}


if __name__ == "__main__":
    serve(
        {
            "chat/whole": chat_whole,
            "chat/stream": chat_stream,
            "chat/tools": chat_tools,
            "responses/whole": responses_whole,
            "responses/stream": responses_stream,
            "responses/tools": responses_tools,
            "image_generation/picture": responses_picture,
            "images/picture": pictures_made,
            "images/edit": pictures_changed,
        }
    )
