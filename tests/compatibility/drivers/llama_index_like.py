"""LlamaIndex's OpenAILike, over chats."""

from calls import V1, serve, weather
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike


def get_weather(city: str) -> str:
    """The weather in a city."""
    return weather("Rome")


def model(order):
    return OpenAILike(
        model="gpt-4o-mini", api_base=V1, api_key=order["key"], is_chat_model=True, is_function_calling_model=True,
        context_window=128_000, timeout=30,
    )  # fmt: skip


def whole(order):
    return {"text": model(order).chat([ChatMessage(role="user", content=order["prompt"])]).message.content}


def stream(order):
    running = model(order).stream_chat([ChatMessage(role="user", content=order["prompt"])])
    pieces = [piece.delta for piece in running if piece.delta]
    return {"text": "".join(pieces), "pieces": len(pieces)}


def tools(order):
    tool, history, used = (
        FunctionTool.from_defaults(get_weather),
        [ChatMessage(role="user", content=order["prompt"])],
        [],
    )
    while True:
        answer = model(order).chat_with_tools([tool], chat_history=history)
        calls = model(order).get_tool_calls_from_response(answer, error_on_no_tool_call=False)
        if not calls:
            return {"text": answer.message.content, "tools": used}
        history.append(answer.message)
        for call in calls:
            used.append(call.tool_name)
            said = tool(**call.tool_kwargs).content
            history.append(ChatMessage(role="tool", content=said, additional_kwargs={"tool_call_id": call.tool_id}))


serve({"chat/whole": whole, "chat/stream": stream, "chat/tools": tools})
