"""The sandbox as an upstream: what it prints is saved as it stands, served with, and asked by the OpenAI SDK."""

from __future__ import annotations

import asyncio
import base64
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from openai import pydantic_function_tool
from pydantic import BaseModel

from .running import Program, command

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
_CONFIG = re.compile(r"^--- sandbox\.yaml ---\n(.*)^--- end of sandbox\.yaml ---$", re.DOTALL | re.MULTILINE)


@asynccontextmanager
async def a_sandbox(folder: Path, *arguments: str) -> AsyncIterator[Program]:
    """The command on a free port, its whole banner printed."""
    async with Program.run(folder, "sandbox", "--listen", "127.0.0.1:0", *arguments) as box:
        await box.out.first(lambda line: line.startswith("Stop with"))
        yield box


def printed_config(box: Program) -> str:
    found = _CONFIG.search(box.out.text)
    assert found is not None
    return found[1]


@asynccontextmanager
async def served(folder: Path, config: str) -> AsyncIterator[str]:
    """The base URL of a gateway with a printed configuration, on free ports instead of the printed ones."""
    listening = config.replace("127.0.0.1:8400", "127.0.0.1:0").replace("127.0.0.1:8401", "127.0.0.1:0")
    (folder / "sandbox.yaml").write_text(listening, encoding="utf-8")
    async with Program.run(folder, "serve", "--config", "sandbox.yaml") as gateway:
        line = await gateway.out.first(lambda line: "listens on http" in line)
        yield re.findall(r"http://[\w.:]+", line)[0] + "/v1"
    assert "Traceback" not in gateway.err.text


@asynccontextmanager
async def behind_a_gateway(folder: Path) -> AsyncIterator[openai.AsyncOpenAI]:
    async with a_sandbox(folder) as box:
        config = printed_config(box)
        key = re.search(r"gw-[\w-]+", config)
        assert key is not None
        async with (
            served(folder, config) as url,
            openai.AsyncOpenAI(base_url=url, api_key=key[0], max_retries=0, timeout=30) as sdk,
        ):
            yield sdk


async def test_the_printed_configuration_is_what_print_config_prints(tmp_path: Path) -> None:
    async with a_sandbox(tmp_path) as box:
        place = (box.out.lines[0]).split("//")[1].strip()
        for option in ("--print-config", "--config-only"):
            alone = await command(tmp_path, "sandbox", "--listen", place, option)
            assert (alone.code, alone.out, alone.err) == (0, printed_config(box), "")
    (tmp_path / "sandbox.yaml").write_text(alone.out, encoding="utf-8")
    checked = await command(tmp_path, "check", "--config", "sandbox.yaml")
    assert checked.code == 0, checked
    nowhere = await command(tmp_path, "sandbox", "--listen", "127.0.0.1:0", "--print-config")
    assert (nowhere.code, nowhere.out) == (2, "")
    assert "name one" in nowhere.err


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed: the banner's lines are NOT tried")
async def test_the_banners_lines_work_when_pasted(tmp_path: Path) -> None:
    async with a_sandbox(tmp_path) as box, served(tmp_path, printed_config(box)) as url:
        directly, through = (line for line in box.out.lines if line.startswith("curl "))
        for line in (directly, through.replace("http://127.0.0.1:8400/v1", url)):
            shell = await asyncio.create_subprocess_exec("sh", "-euc", line, stdout=asyncio.subprocess.PIPE)
            out, _ = await shell.communicate()
            assert shell.returncode == 0
            assert "simulated answer" in out.decode()


async def test_chats_and_streams(tmp_path: Path) -> None:
    async with behind_a_gateway(tmp_path) as sdk:
        whole = await sdk.chat.completions.create(model="gpt-4o", messages=HELLO)
        stream = await sdk.chat.completions.create(
            model="gpt-4o", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]

        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert whole.choices[0].message.content == text
        assert "simulated" in text
        assert chunks[-1].usage is not None
        assert whole.usage is not None
        assert chunks[-1].usage.total_tokens == whole.usage.total_tokens


async def test_pictures_of_every_kind(tmp_path: Path) -> None:
    async with behind_a_gateway(tmp_path) as sdk:
        asked: list[Any] = [{"role": "user", "content": "a lighthouse"}]
        stream = await sdk.chat.completions.create(model="gpt-4o-image", messages=asked, stream=True)
        drawn = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
        assert re.search(r"!\[.*\]\(http\S+\)", "".join(drawn))
        for model in ("gpt-4o-image", "gpt-image-2", "flux-schnell"):
            made = await sdk.images.generate(
                model=model, prompt="a lighthouse", size="1024x1024", extra_body={"response_format": "b64_json"}
            )
            assert made.data is not None
            assert base64.b64decode(made.data[0].b64_json or "").startswith(b"\x89PNG"), model


async def test_faults_move_on_to_the_next_host_and_to_the_backup(tmp_path: Path) -> None:
    async with behind_a_gateway(tmp_path) as sdk:
        for model, marks, upstream, attempts in (
            ("gpt-4.1", "[[sandbox: cf_524;role=api]]", "piapi", "2"),
            ("gpt-4.1-mini", "[[sandbox: bad_gateway;role=api]] [[sandbox: bad_gateway;role=proxy]]", "backup", "3"),
        ):
            answer = await sdk.chat.completions.with_raw_response.create(
                model=model, messages=[{"role": "user", "content": f"Hello {marks}"}]
            )
            assert answer.headers["x-gateway-upstream"] == upstream
            assert answer.headers["x-gateway-attempts"] == attempts
            assert answer.parse().choices[0].message.content
        with pytest.raises(openai.BadRequestError, match="preceeding message with 'tool_calls'"):
            await sdk.chat.completions.create(
                model="gpt-4.1", messages=[*HELLO, {"role": "tool", "tool_call_id": "x", "content": "y"}]
            )


class Weather(BaseModel):
    city: str
    unit: Literal["C", "F"]


class Report(BaseModel):
    title: str
    highs: list[float]


async def test_structured_answers_and_a_loop_of_tools(tmp_path: Path) -> None:
    async with behind_a_gateway(tmp_path) as sdk:
        parsed = await sdk.chat.completions.parse(model="gpt-4o", messages=HELLO, response_format=Report)
        assert parsed.choices[0].message.parsed == Report(title="Hello", highs=[4.2])
        async with sdk.chat.completions.stream(model="gpt-4o", messages=HELLO, response_format=Report) as stream:
            streamed = await stream.get_final_completion()
        assert streamed.choices[0].message.parsed == parsed.choices[0].message.parsed

        messages: list[Any] = [{"role": "user", "content": "What is the weather in Rome?"}]
        tools: list[Any] = [pydantic_function_tool(Weather, name="get_weather")]
        first = await sdk.chat.completions.parse(model="gpt-4o", messages=messages, tools=tools)
        assert first.choices[0].finish_reason == "tool_calls"
        [call] = first.choices[0].message.tool_calls or []
        assert isinstance(call.function.parsed_arguments, Weather)
        messages += [
            first.choices[0].message.model_dump(exclude_none=True, exclude={"parsed"}),
            {"role": "tool", "tool_call_id": call.id, "content": "21 degrees and sunny"},
        ]
        for message in messages[1]["tool_calls"]:
            message["function"].pop("parsed_arguments", None)
        last = await sdk.chat.completions.parse(model="gpt-4o", messages=messages, tools=tools)
        assert last.choices[0].finish_reason == "stop"
        assert "21 degrees and sunny" in (last.choices[0].message.content or "")
