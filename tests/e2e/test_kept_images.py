"""Images that the gateway keeps: where only bytes are at hand and a link is wanted, it lends one of its own."""

from __future__ import annotations

import base64
import json
import os
import re
import stat
from pathlib import Path

import pytest

from gateway.sandbox.images.png import image_name
from gateway.wire.image_bytes import image_type

from .conftest import StartGateway
from .harness import PROMPT, Answer, Rig, eventually
from .raw_orders import fetched, order, sandbox_image

BY_THE_BACKUP = "upstreams: {piapi: {keys: []}}"
NAME = re.compile(r"[A-Za-z0-9_-]{43}\.png")
PNG = sandbox_image("/" + image_name(f"{PROMPT}0", 1024, 1024))


def link_in(answer: Answer) -> str:
    [item] = answer.json()["data"]
    link: str = item["url"]
    return link


def folder(rig: Rig) -> Path:
    return rig.folder / "images"


def kept(rig: Rig) -> list[str]:
    return sorted(entry.name for entry in folder(rig).iterdir())


class TestALinkOfOurOwn:
    async def test_leads_to_the_image_without_any_key(self, gateway: StartGateway) -> None:
        rig = await gateway(BY_THE_BACKUP)

        answer = await order(rig)

        link = link_in(answer)
        assert link.startswith(f"{rig.gateway.main_url}/images/")
        assert NAME.fullmatch(link.rpartition("/")[2])
        shown = await fetched(link)
        assert (shown.status, shown.header("content-type")) == (200, "image/png")
        assert shown.body == PNG
        assert shown.header("x-content-type-options") == "nosniff"
        assert "private" in (shown.header("cache-control") or "")

    async def test_answers_head_as_it_would_answer_get(self, gateway: StartGateway) -> None:
        rig = await gateway(BY_THE_BACKUP)
        link = link_in(await order(rig))

        shown, asked = await fetched(link), await fetched(link, "HEAD")

        assert (asked.status, asked.body) == (200, b"")
        for name in ("content-type", "content-length", "cache-control"):
            assert asked.header(name) == shown.header(name)
        assert asked.header("content-length") == str(len(PNG))

    async def test_names_the_public_address_where_there_is_one(self, gateway: StartGateway) -> None:
        rig = await gateway(f"{BY_THE_BACKUP}\nimages: {{public_url: 'https://images.example.com/gateway/'}}")

        link = link_in(await order(rig))

        assert link.startswith("https://images.example.com/gateway/images/")
        assert kept(rig) == [link.rpartition("/")[2]]

    @pytest.mark.parametrize(
        "host",
        ["localhost:{port}", "gateway.lan:8400", "host.docker.internal:8400", "gateway.lan", "[::1]:8400", "x_y.z"],
    )
    @pytest.mark.parametrize("way", ["images", "chat", "chat stream", "events"])
    async def test_names_the_host_that_the_client_asked_by(self, gateway: StartGateway, host: str, way: str) -> None:
        """As a container, or another machine, reaches us; what the listener calls itself may mean nothing there."""
        rig = await gateway(f"{BY_THE_BACKUP}\nhosts: [gateway.lan]")
        host = host.format(port=rig.gateway.main_url.rpartition(":")[2])

        if way in ("images", "events"):
            fields = {"stream": True, "response_format": "url"} if way == "events" else {}
            answer = await order(rig, headers={"host": host}, **fields)
            link = json.loads(answer.payloads[0])["url"] if fields else link_in(answer)
        else:
            answer = await rig.chat(model="gpt-image-1", stream=way == "chat stream", headers={"host": host})
            text = answer.text if way == "chat stream" else answer.json()["choices"][0]["message"]["content"]
            link = text.removeprefix("![image](").removesuffix(")")

        assert link.startswith(f"http://{host}/images/")
        shown = await fetched(link.replace(f"http://{host}", rig.gateway.main_url), headers={"host": host})
        assert (shown.status, shown.body) == (200, PNG)

    @pytest.mark.parametrize("host", ["gateway.lan:99999", "gateway.lan:0", "..", "."])
    async def test_names_the_listener_where_the_host_leads_nowhere(self, gateway: StartGateway, host: str) -> None:
        rig = await gateway(BY_THE_BACKUP)

        link = link_in(await order(rig, headers={"host": host}))

        assert link.startswith(f"{rig.gateway.main_url}/images/")

    async def test_is_given_for_gpt_image_1_where_links_are_asked_for(self, rig: Rig) -> None:
        """PiAPI's own example of an edit asks for them; it has bytes only."""
        made = await rig.openai().images.generate(model="gpt-image-1", prompt=PROMPT, response_format="url")
        edited = await rig.openai().images.edit(
            model="gpt-image-1", prompt=PROMPT, image=("a.png", PNG, "image/png"), response_format="url"
        )

        for answer in (made, edited):
            [image] = answer.data or []
            assert image.b64_json is None
            assert (image.url or "").startswith(f"{rig.gateway.main_url}/images/")
            shown = await fetched(image.url or "")
            assert (shown.status, shown.header("content-type")) == (200, "image/png")
        assert all("response_format" not in request.body.decode("latin-1") for request in rig.sandbox.requests)
        rows = await rig.rows(2)
        assert sum(row.charged for row in rows) == rig.sandbox.billed

    async def test_is_what_the_upstream_has_where_it_has_one(self, rig: Rig) -> None:
        rig.sandbox.script("ok;link=1")

        answer = await order(rig, model="gpt-image-1", quality="low", size="1024x1024", response_format="url")

        assert link_in(answer).startswith(f"{rig.sandbox.urls['api']}/files/")
        assert not folder(rig).exists()

    @pytest.mark.parametrize(
        ("jobs", "images", "ours"), [("2d", "7d", True), ("2d", "24h", False), ("24h", "7d", False)]
    )
    async def test_stands_for_one_that_would_not_last_as_long_as_the_answer(
        self, gateway: StartGateway, jobs: str, images: str, ours: bool
    ) -> None:
        rig = await gateway(f"jobs: {{keep: {jobs}}}\nimages: {{keep: {images}}}")

        answer = await order(rig, model="flux-dev")
        again = await order(rig, model="flux-dev", headers={"x-stainless-retry-count": "1"})

        assert again.body == answer.body
        assert link_in(answer).startswith(f"{rig.gateway.main_url}/images/") is ours
        assert (await fetched(link_in(answer))).status == 200
        assert sum(row.charged for row in await rig.rows(2)) == rig.sandbox.billed

    async def test_is_another_one_for_every_image(self, gateway: StartGateway) -> None:
        rig = await gateway(BY_THE_BACKUP)

        answer = await order(rig, n=3)

        links = [item["url"] for item in answer.json()["data"]]
        assert len(set(links)) == 3
        assert kept(rig) == sorted(link.rpartition("/")[2] for link in links)

    async def test_is_for_nobody_else_on_the_machine_to_read(self, gateway: StartGateway) -> None:
        rig = await gateway(BY_THE_BACKUP)
        link = link_in(await order(rig))

        assert stat.S_IMODE(folder(rig).stat().st_mode) == 0o700
        assert stat.S_IMODE((folder(rig) / link.rpartition("/")[2]).stat().st_mode) == 0o600

    async def test_is_on_the_main_listener_only(self, gateway: StartGateway) -> None:
        rig = await gateway(BY_THE_BACKUP)
        link = link_in(await order(rig))

        elsewhere = await fetched(link.replace(rig.gateway.main_url, rig.gateway.admin_url))

        assert elsewhere.status == 404

    async def test_is_needed_only_where_a_link_is_wanted(self, gateway: StartGateway) -> None:
        rig = await gateway(BY_THE_BACKUP)

        answer = await order(rig, response_format="b64_json")
        await order(rig, model="gpt-image-1")
        await order(rig, stream=True)

        assert base64.b64decode(answer.json()["data"][0]["b64_json"]) == PNG
        assert not folder(rig).exists()

    async def test_does_not_stand_for_a_link_that_the_upstream_has(self, gateway: StartGateway) -> None:
        rig = await gateway(BY_THE_BACKUP)
        rig.sandbox.script("ok;link=1")

        link = link_in(await order(rig))

        assert link.startswith(f"{rig.sandbox.urls['backup']}/files/")
        assert not folder(rig).exists()

    async def test_is_shown_by_pages_that_hold_it(self, gateway: StartGateway) -> None:
        """A chat's page shows the markdown image; where no key is asked for, pages are kept from everything else."""
        rig = await gateway(f"{BY_THE_BACKUP}\nauth: none")
        link = link_in(await order(rig))
        page = {"sec-fetch-site": "cross-site", "sec-fetch-dest": "image"}

        shown = await fetched(link, headers=page)
        models = await fetched(f"{rig.gateway.main_url}/v1/models", headers=page)

        assert (shown.status, shown.body) == (200, PNG)
        assert models.status == 403


class TestNoSuchImage:
    @pytest.mark.parametrize(
        "name",
        [
            "A" * 43 + ".png",
            "A" * 43,
            "../gateway.db",
            "..%2Fgateway.db",
            "%2e%2e/%2e%2e/etc/passwd",
            ".",
            "a.png",
            "x" * 5000,
            "%00.png",
        ],
    )
    async def test_is_a_404_like_any_other(self, gateway: StartGateway, name: str) -> None:
        rig = await gateway(BY_THE_BACKUP)
        await order(rig)

        answer = await fetched(f"{rig.gateway.main_url}/images/{name}")

        assert answer.status == 404
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert b"SQLite" not in answer.body

    async def test_one_character_off_finds_nothing(self, gateway: StartGateway) -> None:
        rig = await gateway(BY_THE_BACKUP)
        link = link_in(await order(rig))
        other = "B" if link[-5] == "A" else "A"

        assert (await fetched(f"{link[:-5]}{other}.png")).status == 404
        assert (await fetched(link.replace(".png", ".jpg"))).status == 404
        assert (await fetched(link)).status == 200

    async def test_not_even_through_a_link_somebody_laid_into_the_folder(self, gateway: StartGateway) -> None:
        rig = await gateway(BY_THE_BACKUP)
        await order(rig)
        name = "B" * 43 + ".png"
        (folder(rig) / name).symlink_to(rig.folder / "gateway.db")

        assert (await fetched(f"{rig.gateway.main_url}/images/{name}")).status == 404


class TestKeeping:
    async def test_ends_after_a_while(self, gateway: StartGateway) -> None:
        rig = await gateway(f"{BY_THE_BACKUP}\nimages: {{keep: 1h}}")
        first = link_in(await order(rig))
        path = folder(rig) / first.rpartition("/")[2]
        almost = path.stat().st_mtime - 3_590
        os.utime(path, (almost, almost))
        assert (await fetched(first)).status == 200
        os.utime(path, (almost - 20, almost - 20))

        assert (await fetched(first)).status == 404
        second = link_in(await order(rig))

        assert kept(rig) == [second.rpartition("/")[2]]  # the old one's file is gone, too

    async def test_ends_while_nothing_new_comes(self, gateway: StartGateway, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gateway.images.results.SWEEP_EVERY", 0.02)
        rig = await gateway(f"{BY_THE_BACKUP}\nimages: {{keep: 1h}}")
        link = link_in(await order(rig))
        os.utime(folder(rig) / link.rpartition("/")[2], (0, 0))

        await eventually(lambda: kept(rig) == [], "the old image to be removed")

        assert (await fetched(link)).status == 404

    async def test_outlives_a_restart(self, gateway: StartGateway, tmp_path: Path) -> None:
        shared = f"{BY_THE_BACKUP}\nimages: {{dir: '{tmp_path / 'shared'}'}}"
        link = link_in(await order(await gateway(shared)))

        again = await gateway(shared)

        shown = await fetched(f"{again.gateway.main_url}/images/{link.rpartition('/')[2]}")
        assert (shown.status, shown.body) == (200, PNG)

    async def test_makes_room_by_removing_the_oldest(self, gateway: StartGateway) -> None:
        rig = await gateway(f"{BY_THE_BACKUP}\nimages: {{keep_max: {len(PNG) * 5 // 2}B}}")
        links = []
        for age in (300, 200, 100):
            links.append(link_in(await order(rig)))
            path = folder(rig) / links[-1].rpartition("/")[2]
            written = path.stat().st_mtime - age
            os.utime(path, (written, written))

        assert [(await fetched(link)).status for link in links] == [404, 200, 200]


class TestAnImageThatCannotBeKept:
    @pytest.mark.parametrize("trouble", ["no folder", "too large"])
    @pytest.mark.parametrize("way", ["images", "chat", "chat stream"])
    async def test_is_delivered_as_it_is(self, gateway: StartGateway, tmp_path: Path, trouble: str, way: str) -> None:
        (tmp_path / "a file").write_text("in the way")
        config = {"no folder": f"dir: '{tmp_path / 'a file' / 'images'}'", "too large": "keep_max: 1KiB"}[trouble]
        rig = await gateway(f"{BY_THE_BACKUP}\nimages: {{{config}}}")

        if way == "images":
            answer = await order(rig)
        else:
            answer = await rig.chat(model="gpt-image-1", stream=way == "chat stream")

        assert answer.status == 200
        encoded = re.search(rb"[A-Za-z0-9+/]{200,}=*", answer.body)
        assert encoded is not None
        assert image_type(base64.b64decode(encoded[0])) == "png"
        assert str(tmp_path).encode() not in answer.body
        if way == "images":
            assert answer.header("x-gateway-note") == "b64_instead_of_link"
        assert len(rig.sandbox.requests) == 1
        row = await rig.row()
        assert row.outcomes == ["ok"]
        assert row.charged == row.upstream_cost == rig.sandbox.billed > 0
        [line] = await rig.log_lines("image_not_kept")
        assert {"no folder": "images.dir", "too large": "images.keep_max"}[trouble] in line["problem"]
