"""Who is turned away at the routes for images, before anything is bought, and in which words."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from .conftest import StartGateway
from .harness import ALICE, FLUX_ONLY, PROMPT, Answer, Rig
from .raw_orders import EDITS, GENERATIONS, VARIATIONS, order, order_body, sandbox_image, told

PATHS = (GENERATIONS, EDITS, VARIATIONS)
PNG = sandbox_image("/gen-door-64x64.png")
BOUNDARY = "a-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
INVALID = "invalid_request_error"


def form(*parts: bytes, end: bytes = b"--") -> bytes:
    return b"".join(b"--a-boundary\r\n" + part + b"\r\n" for part in parts) + b"--a-boundary" + end + b"\r\n"


def text_part(name: str, value: str) -> bytes:
    return f'content-disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()


def file_part(name: str, data: bytes, content_type: str = "image/png") -> bytes:
    head = f'content-disposition: form-data; name="{name}"; filename="a.png"\r\ncontent-type: {content_type}\r\n\r\n'
    return head.encode() + data


MODEL, WORDS, IMAGE = text_part("model", "gpt-4o-image"), text_part("prompt", PROMPT), file_part("image", PNG)


async def check_turned_away(
    rig: Rig, answer: Answer, status: int, type: str, code: str, *, path: str = GENERATIONS, param: str | None = None
) -> None:
    """The error is as the contract has it; nobody upstream heard of it, and no row is in the books."""
    error = answer.error()
    assert (answer.status, error["type"], error["code"], error["param"]) == (status, type, code, param)
    assert answer.header("x-should-retry") == "false"
    assert rig.sandbox.requests == []
    assert await rig.rows(0) == []
    figures = await rig.figures()
    assert figures.total("gateway_requests_total", route=path, status=str(status)) == 1
    assert figures.total("gateway_upstream_attempts_total") == 0


class TestModels:
    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-20250514"])
    async def test_that_only_chat_make_no_images(self, rig: Rig, model: str, path: str) -> None:
        source: dict[str, Any] = {} if path == GENERATIONS else {"images": [{"image_url": "https://example.com/a.png"}]}

        answer = await order(rig, path=path, model=model, **source)

        await check_turned_away(rig, answer, 404, INVALID, "model_not_found", path=path, param="model")
        assert "/v1/chat/completions" in answer.error()["message"]

    async def test_that_nobody_knows(self, rig: Rig) -> None:
        answer = await order(rig, model="dall-e-9")

        await check_turned_away(rig, answer, 404, INVALID, "model_not_found", param="model")

    async def test_that_this_key_may_not_use(self, rig: Rig) -> None:
        answer = await order(rig, key=FLUX_ONLY)

        await check_turned_away(rig, answer, 403, "permission_error", "model_not_allowed", param="model")
        assert (await order(rig, key=FLUX_ONLY, model="flux-schnell")).status == 200

    async def test_are_errors_an_sdk_has_names_for(self, rig: Rig) -> None:
        sdk = rig.openai()
        with pytest.raises(openai.NotFoundError) as missing:
            await sdk.images.generate(model="gpt-4o", prompt=PROMPT)
        with pytest.raises(openai.PermissionDeniedError) as denied:
            await rig.openai(api_key=FLUX_ONLY).images.generate(model="gpt-image-1", prompt=PROMPT)
        with pytest.raises(openai.AuthenticationError) as unknown:
            await rig.openai(api_key="gw-nobody").images.generate(model="gpt-image-1", prompt=PROMPT)

        assert told(missing.value) == (404, INVALID, "model_not_found")
        assert told(denied.value) == (403, "permission_error", "model_not_allowed")
        assert told(unknown.value) == (401, INVALID, "invalid_api_key")


class TestKeys:
    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("key", [None, "gw-nobody", ALICE[:-1], ALICE.upper()])
    async def test_are_asked_for_before_anything_is_read(self, rig: Rig, path: str, key: str | None) -> None:
        answer = await order(rig, path=path, key=key, body=b"this is nothing at all")

        await check_turned_away(rig, answer, 401, INVALID, "invalid_api_key", path=path)

    async def test_may_come_in_the_other_header(self, rig: Rig) -> None:
        async with rig.client() as client:
            await client.ask(order_body(), None, {"x-api-key": ALICE}, target=GENERATIONS)
            answer = await client.rest(await client.head())

        assert answer.status == 200

    async def test_have_limits_that_hold_for_images(self, gateway: StartGateway) -> None:
        rig = await gateway(f"keys: [{{name: alice, team: growth, key: {ALICE}, rpm: 1}}]")
        assert (await order(rig)).status == 200

        answer = await order(rig, n=3)

        error = answer.error()
        assert (answer.status, error["type"], error["code"]) == (429, "rate_limit_error", "rate_limit_exceeded")
        assert answer.header("x-should-retry") == "true"
        assert len(rig.sandbox.requests) == 1


class TestSizes:
    async def test_a_form_may_be_as_large_as_uploads_are(self, gateway: StartGateway) -> None:
        rig = await gateway("limits: {body: 1KiB, upload: 8KiB}")
        fits = form(MODEL, WORDS, file_part("image", PNG.ljust(4 * 1024, b"\0")))
        assert 1024 < len(fits) < 8 * 1024

        assert (await order(rig, path=EDITS, body=fits, content_type=FORM)).status == 200

    @pytest.mark.parametrize("path", [EDITS, VARIATIONS])
    async def test_a_form_that_is_larger_is_refused(self, gateway: StartGateway, path: str) -> None:
        rig = await gateway("limits: {upload: 8KiB}")
        body = form(MODEL, WORDS, file_part("image", PNG.ljust(9 * 1024, b"\0")))

        answer = await order(rig, path=path, body=body, content_type=FORM)

        await check_turned_away(rig, answer, 413, INVALID, "request_too_large", path=path)

    async def test_json_that_is_larger_than_bodies_are_is_refused(self, gateway: StartGateway) -> None:
        rig = await gateway("limits: {body: 1KiB, upload: 1MiB}")

        answer = await order(rig, prompt="x" * 2000)

        await check_turned_away(rig, answer, 413, INVALID, "request_too_large")

    async def test_a_body_may_not_be_compressed_by_what_is_not_read(self, rig: Rig) -> None:
        async with rig.client() as client:
            await client.ask(order_body(), headers={"content-encoding": "br"}, target=GENERATIONS)
            answer = await client.rest(await client.head())

        await check_turned_away(rig, answer, 415, INVALID, "unsupported_content_encoding")


class TestBodies:
    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b"", "invalid_json"),
            (b"{", "invalid_json"),
            (b"[]", None),
            (b'{"model": "gpt-4o-image", "prompt": "a", "n": 18446744073709551616}', "invalid_json"),
            (b"\xff\xfe", "invalid_json"),
            (b"[" * 10_000, None),
        ],
        ids=["empty", "half", "a list", "a big integer", "no text", "deep"],
    )
    async def test_that_are_not_a_json_object(self, rig: Rig, body: bytes, code: str | None) -> None:
        answer = await order(rig, body=body)

        error = answer.error()
        assert (answer.status, error["type"]) == (400, INVALID)
        assert code in (None, error["code"])
        assert rig.sandbox.requests == []

    @pytest.mark.parametrize(
        ("body", "content_type"),
        [
            pytest.param(form(MODEL, WORDS, IMAGE), "multipart/form-data", id="no boundary"),
            pytest.param(form(MODEL, WORDS, IMAGE), "multipart/form-data; boundary=another", id="another boundary"),
            pytest.param(form(MODEL, WORDS, IMAGE)[:-40], FORM, id="cut off"),
            pytest.param(form(MODEL, WORDS, IMAGE, end=b""), FORM, id="no end"),
            pytest.param(form(b"\r\nno name"), FORM, id="a part without a head"),
            pytest.param(form(b"content-disposition: form-data\r\n\r\nx"), FORM, id="a part without a name"),
            pytest.param(b"", FORM, id="empty"),
            pytest.param(order_body(), FORM, id="json"),
            pytest.param(form(*[text_part(f"field{number}", "x") for number in range(2000)]), FORM, id="many parts"),
        ],
    )
    async def test_that_are_no_form(self, rig: Rig, body: bytes, content_type: str) -> None:
        answer = await order(rig, path=EDITS, body=body, content_type=content_type)

        error = answer.error()
        assert (answer.status, error["type"]) == (400, INVALID)
        assert answer.header("x-should-retry") == "false"
        assert rig.sandbox.requests == []
        assert (await rig.figures()).total("gateway_requests_total", route=EDITS, status="400") == 1

    @pytest.mark.parametrize(
        ("parts", "param"),
        [
            pytest.param((MODEL, WORDS, file_part("image", b"not an image")), "image", id="not an image"),
            pytest.param((MODEL, WORDS, file_part("image", PNG[:20])), "image", id="half an image"),
            pytest.param((MODEL, WORDS), "image", id="no image"),
            pytest.param((MODEL, IMAGE), "prompt", id="no prompt"),
            pytest.param((WORDS, IMAGE), "model", id="no model"),
            pytest.param((MODEL, WORDS, IMAGE, text_part("n", "many")), "n", id="a word for a number"),
            pytest.param((MODEL, WORDS, IMAGE, text_part("api_base", "http://127.0.0.1")), "api_base", id="a host"),
        ],
    )
    async def test_whose_form_lacks_something(self, rig: Rig, parts: tuple[bytes, ...], param: str) -> None:
        answer = await order(rig, path=EDITS, body=form(*parts), content_type=FORM)

        error = answer.error()
        assert (answer.status, error["type"], error["param"]) == (400, INVALID, param)
        assert rig.sandbox.requests == []


class TestTheRoutes:
    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    async def test_only_take_orders(self, rig: Rig, path: str, method: str) -> None:
        async with rig.client() as client:
            await client.ask(b"", method=method, target=path)
            answer = await client.rest(await client.head())

        error = answer.error()
        assert (answer.status, error["type"]) == (405, INVALID)
        assert rig.sandbox.requests == []

    @pytest.mark.parametrize("path", ["/v1/images", "/v1/images/", "/v1/images/generation", "/v1/images/edits/x"])
    async def test_have_no_neighbours(self, rig: Rig, path: str) -> None:
        answer = await order(rig, path=path)

        assert (answer.status, answer.error()["type"]) == (404, INVALID)
        assert rig.sandbox.requests == []

    async def test_do_not_exist_on_the_admin_listener(self, rig: Rig) -> None:
        fields: dict[str, Any] = {"base_url": f"{rig.gateway.admin_url}/v1"}
        sdk = openai.AsyncOpenAI(api_key=ALICE, max_retries=0, **fields)
        try:
            with pytest.raises(openai.APIStatusError) as caught:
                await sdk.images.generate(model="gpt-4o-image", prompt=PROMPT)
        finally:
            await sdk.close()

        assert caught.value.status_code in (401, 404)
        assert rig.sandbox.requests == []
