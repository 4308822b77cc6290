"""What gpt-4o-image says, in every form seen on the wire: read whole, and again at every place it can be split."""

from __future__ import annotations

import orjson
import pytest

from gateway.wire.image_text import ImageText, ImageTextReader, image_links, read_answer

PIAPI = "https://storage.theapi.app/image/gen-26c1c535-9b8a-4986-af98-0d02f207c456.png"
SIGNED = (
    "https://videos.openai.com/vg-assets/assets%2Ftask_01jyeh8y5%2F1750687141_src_0.png"
    "?st=2025-04-03T01%3A55%3A56Z&se=2025-04-09T02%3A55%3A56Z&sig=abc%2B%3D"
)
SITE = "https://filesystem.site/cdn"
FIRST, SECOND = f"{SITE}/20250623/VqWUYzWhHIONRij5YTYWIPG5SudtB0.png", f"{SITE}/20250623/SHbz.png"
DOWNLOAD = f"{SITE}/download/20250623/VqWUYzWhHIONRij5YTYWIPG5SudtB0.png"
DALLE = "https://oaidalleapiprodscus.blob.core.windows.net/private/org-1/user-1/img-1.png?st=2025&sig=a%2B%3D"
PNG = "data:image/png;base64,iVBORw0KGgo+/A=="

WITH_IMAGES = {
    "PiAPI, 2025-04, as documented": (
        '```\n{\n  "prompt": "...",\n  "ratio": "1:1"\n}\n```\n\n\n\n> ID: `task_{ID}`\n> Queuing.\n> Generating.....\n'
        f"> Progress 15%.\n> Progress 64%..\n> Generation complete ✅\n\n> gen_id: `gen_01`\n\n![gen_01]({PIAPI})",
        ImageText((PIAPI,), progress=64, revised_prompt="..."),
    ),
    "A: 2025-04, Chinese, a follow-up's gen_id, a signed address": (
        '```\n{\n  "prompt": "牛的脸上遮个布",\n  "ratio": "1:1",\n  "gen_id": "gen_01jqwte8yjf7haxqc521b7z2wf"\n}\n```'
        "\n\n\n\n> ID: `task_01jqwthpjaf3kap2dkqnhxfvpr`\n> 排队中.\n> 生成中.....\n> 进度 15%.\n"
        "> 进度 23%.\n> 进度 64%..\n> 生成完成 ✅\n\n> gen_id: `gen_01jqwtksnne8mtahpxcdyzna0m`\n\n"
        f"![gen_01jqwtksnne8mtahpxcdyzna0m]({SIGNED})",
        ImageText((SIGNED,), progress=64, revised_prompt="牛的脸上遮个布"),
    ),
    "B: 2025-06, English, n = 2, a progress link, download links": (
        '```\n{\n  "prompt": "a cat",\n  "ratio": "1:1",\n  "n": 2\n}\n```\n\n>🕐 Queuing........\n\n'
        f">⚡ Generating...\n\n>🏃 Progress 7....13....25...27...35....57...[100]({SIGNED})\n\n"
        "> ✅ Generation complete\n\n\n"
        f"![gen_01jyeh9rnpf8hs5j76fqx4rq4b]({FIRST})\n\n[Click to download]({DOWNLOAD})\n\n"
        f"![gen_01jyeh9rnqepzsfcek3cwb1mr0]({SECOND})\n\n[Click to download]({DOWNLOAD})",
        ImageText((FIRST, SECOND), progress=100, revised_prompt="a cat"),
    ),
    "C: 2026-03, Chinese, preview links": (
        '```json\n{\n  "prompt": "猫",\n  "ratio": "3:2"\n}\n```\n\n> ID: `0a1b-36`\n'
        ">[数据预览](https://pro.asyncdata.net/web/0a1b) | [原始数据](https://pro.asyncdata.net/source/0a1b)\n"
        f">🕐 排队中.\n\n>⚡ 生成中.....\n\n>🏃 进度 72..[100]({SIGNED})\n\n> ✅ 生成完成\n\n\n"
        f"![gen_a]({FIRST})\n\n[点击下载]({DOWNLOAD})",
        ImageText((FIRST,), progress=100, revised_prompt="猫"),
    ),
    "D: bare JSON that quotes an image and speaks of failure, bold percents": (
        f'{{\n  "prompt": "like ![this]({SECOND}), {{titled}} \\"Generation failed\\"",\n'
        '  "referenced_image_ids": ["file-1"]\n}\n\n> 进度 **2%**\n\n\n> 进度 **34%**\n\n\n'
        f"![file_000000007a5451f7b4c098cb3d95dace]({FIRST})\n[下载⏬]({DOWNLOAD})",
        ImageText((FIRST,), progress=34, revised_prompt=f'like ![this]({SECOND}), {{titled}} "Generation failed"'),
    ),
    "E: the alternative text is the address": (
        f"```think\nperhaps ![this]({SECOND})\n```\n> 🎨 生成中...\n\n![{FIRST}]({FIRST})\n\n[点击下载]({DOWNLOAD})",
        ImageText((FIRST,)),
    ),
    "the family's chunks: percents as bare deltas, sid, a film beside": (
        '```json\n{\n  "prompt": "x"\n}\n```\n\n> ID: `task_01k7`\n>[数据预览](https://asyncdata.net/web/task_01k7) | '
        "[原始数据](https://asyncdata.net/source/task_01k7)\n> 排队中.....\n> 生成中.\n\n>🏃 进度 36..44..61..69..81.."
        f"\n\n> 生成完成 ✅\n> sid: s_68eca3f141808191b1fd30fea1b731bd\n\n![{FIRST}]({FIRST})\n"
        f"[在线播放▶️]({SITE}/20251013/a7a7.mp4)",
        ImageText((FIRST,), progress=81, revised_prompt="x"),
    ),
    "the image itself": (
        f"> 进度 99%\n\n![image]({PNG})\n\n![again]({PNG})",
        ImageText((PNG,), progress=99),
    ),
    "the downgrade: an order with a size": (
        f'{{"prompt":"x","size":"1024x1024"}}Here it is:\n\n![x]({FIRST})',
        ImageText((FIRST,), revised_prompt="x", downgraded=True),
    ),
    "the downgrade: DALL·E's store, as an image": (
        f'```json\n{{"prompt":"x","ratio":"1:1"}}\n```\n![x]({DALLE})',
        ImageText((DALLE,), revised_prompt="x", downgraded=True),
    ),
    "the downgrade: DALL·E's store, as a link": (
        f"> Generating...[100]({DALLE.replace('img-1', 'preview')})\n\n[Your image]({DALLE}), or {DALLE}.",
        ImageText((DALLE,), downgraded=True),
    ),
    "a failure before the image that came after all": (
        f"> 生成失败 ❌\n> 失败原因：input_moderation\n\nOnce more:\n\n![x]({FIRST})",
        ImageText((FIRST,)),
    ),
}

MODERATED_VERBATIM = (
    '```json\n{\n  "prompt": "…",\n  "ratio": "1:1",\n  "n": 4\n}\n```\n\n>🕐 排队中.\n\n> 生成失败 ❌\n'
    '> 失败原因：input_moderation\n\n\n```json\n{"type":"terminal","results_by_frame_index":{},"code":"other",'
    '"is_output_rejection":false,"task_id":"task_01jvefg228fz2rpga8v66v5zhd"}\n```'
)
RATE_LIMITED = "I wasn't able to generate the image because there's a rate limit in place. Please wait a few minutes."
INPUT = "input_moderation (the request did not pass moderation)."
OUTPUT = "output_moderation (the image that was made did not pass moderation)."

FAILED = {
    "moderated, verbatim": (MODERATED_VERBATIM, INPUT),
    "English, with reason and suggestion": (
        "```\n{}\n```\n> Generation failed ❌\n> Failure reason: output_moderation\n"
        "Reason: it shows a trademark\nSuggestion: leave it out!\n",
        f"{OUTPUT} Reason: it shows a trademark. Suggestion: leave it out!",
    ),
    "a code of its own": ("> 生成失败 ❌\n> **失败原因**： `quota_exceeded`", "quota_exceeded."),
    "the failure's reason on a line of its own": (
        "> Generation failed\n> Failure reason:\n> Reason: busy.\n",
        "Reason: busy.",
    ),
    "Chinese reason and advice": ("生成失败\n原因：违规。\n建议：换一个。", "Reason: 违规。 Suggestion: 换一个。"),
    "a code alone": ("It ended with output_moderation", OUTPUT),
    "words without a reason": (
        "> Generation failed ❌\n\nThe server was too busy.\n[details](https://x.example)",
        "The server was too busy.",
    ),
    "no reason at all": ("> 生成失败 ❌", "The generation failed, and no reason was given."),
    "terminal JSON alone": (
        '```json\n{"type":"terminal","code":"other"}\n```',
        "The generation failed, and no reason was given.",
    ),
    "terminal JSON in another order, with a code": (
        '> 排队中\n```\n{"code": "timeout", "type": "terminal"}\n```',
        "timeout.",
    ),
    "terminal JSON, the image was rejected": (
        '```\n{"type":"terminal","code":"other","is_output_rejection":true}\n```',
        OUTPUT,
    ),
    "terminal JSON, bare, behind progress": ('> Queuing.\n{"type":"terminal","code":"busy"}\n', "busy."),
    "terminal JSON, bare, at the beginning": (
        '{"type":"terminal","code":7}',
        "The generation failed, and no reason was given.",
    ),
    "terminal JSON, cut off": (
        '> Queuing.\n\nSorry.\n```json\n{"type":"terminal","code":"bu',
        "Sorry.",
    ),
    "terminal JSON that cannot be read": (
        '> Queuing.\n{"type":"terminal",}',
        "The generation failed, and no reason was given.",
    ),
    "a reason without end": (f"> Generation failed\nReason: {'x' * 5000}", f"Reason: {'x' * 992}"),
}

REFUSED = {
    "the order glued to it, verbatim": (f'{{"prompt":"x","size":"1024x1024"}}{RATE_LIMITED}', RATE_LIMITED),
    "no order": (
        "I can't draw that.\n\nIt goes against our rules.",
        "I can't draw that.\n\nIt goes against our rules.",
    ),
    "behind progress": (
        '```\n{"prompt":"x"}\n```\n> ID: `t`\n> Queuing..\nProgress 15%..\n🎨 生成中...\ngen_id: `g`\nsid: s_1\n'
        f"- 40% -\n[数据预览](https://a.example/1) | [原始数据](https://a.example/2)\n{SECOND}.html\n\nNo, sorry.\n"
        f"[Click to download]({SITE}/rules.pdf)",
        "No, sorry.",
    ),
    "with a link inside": ("See [our rules](https://x.example/rules).", "See [our rules](https://x.example/rules)."),
    "in a fence": ("```\nI will not.\n```", "I will not."),
    "after thoughts": ("```thinking\nHm.\n```\nI will not.", "I will not."),
    "an order that speaks of failure, fenced": (
        '```json\n{"prompt": "a sign: Generation failed, input_moderation"}\n```\nI will not.',
        "I will not.",
    ),
    "an order that speaks of failure, bare": ('{"prompt": "失败原因：input_moderation"} I will not.', "I will not."),
    "an error instead of an order": ('{"message": "busy"}', '{"message": "busy"}'),
    "an error instead of an order, fenced": ('```json\n{"message": "busy"}\n```', '{"message": "busy"}'),
    "a brace is no order": ("{sigh} I will not.", "{sigh} I will not."),
    "very long": ("word " * 1000, ("word " * 200).strip()),
}

SILENT = {
    "nothing": "",
    "blank": " \n\n\t",
    "progress only": f">🏃 Progress 57...[100]({SIGNED})",
    "an order only": '```\n{"prompt": "x"}\n```',
    "an order cut off": '```json\n{"prompt": "Generation fai',
    "an order cut off, bare": '{"prompt": "like ![this]',
    "an order cut off behind a backslash": '{"prompt": "x\\',
    "an order in a fence that cannot be read": '```\n{"prompt": "x" "y"}\n```',
    "an order without its last brace": '```json\n{"prompt": "Generation failed"\n```',
    "an image cut off": "> 进度 100\n\n![gen_a](https://example.com/cut-",
    "an image that leads nowhere": "![chart](sandbox:/mnt/data/chart.png)",
    "links to other things only": f"[Click to download]({SITE}/a.zip)\n[在线播放▶️]({SITE}/a.mp4)\n[100]({SIGNED})",
}


def split_everywhere(text: str) -> None:
    """Fed in two pieces cut at every place, and one character at a time, the text says the same as whole."""
    whole = read_answer(text)
    for position in range(len(text) + 1):
        reader = ImageTextReader()
        reader.feed(text[:position])
        reader.feed(text[position:])
        assert reader.result() == whole
    reader = ImageTextReader()
    for character in text:
        reader.feed(character)
    assert reader.result() == whole


@pytest.mark.parametrize("name", WITH_IMAGES)
def test_answers_with_images(name: str) -> None:
    text, said = WITH_IMAGES[name]

    assert read_answer(text) == said
    assert image_links(text) == list(said.images)
    assert read_answer(text.replace("\n", "\r\n")) == said
    split_everywhere(text)


@pytest.mark.parametrize("name", FAILED)
def test_failures_told_in_the_text(name: str) -> None:
    text, reason = FAILED[name]
    said = read_answer(text)

    assert (said.failure, said.refusal, said.images, said.downgraded) == (reason, None, (), False)
    split_everywhere(text[:700])


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_in_words(name: str) -> None:
    text, words = REFUSED[name]
    said = read_answer(text)

    assert (said.failure, said.refusal, said.images, said.downgraded) == (None, words, (), False)
    split_everywhere(text[:700])


@pytest.mark.parametrize("name", SILENT)
def test_answers_that_say_nothing(name: str) -> None:
    text = SILENT[name]
    said = read_answer(text)

    assert (said.failure, said.refusal, said.images, said.downgraded) == (None, None, (), False)
    split_everywhere(text)


@pytest.mark.parametrize(
    ("order", "prompt"),
    [
        ('```\n{"prompt": "a \\"cat\\"\\n{in} a ```hat```"}\n```', 'a "cat"\n{in} a ```hat```'),
        ('```json {"prompt": "x"}```', "x"),
        ('\n\n  {"prompt": "x", "n": 1}', "x"),
        ('```think\nHm.\n```\n```json\n{"prompt": "x"}\n```', "x"),
        ('```json\n{"prompt": "x"}\n\n> the fence was forgotten\n', "x"),
        ('```json\n{"prompt": ["x"]}\n```', None),
        ('```json\n{"ratio": "1:1"}\n```', None),
        ('```json\n{"prompt": "x\ny"}\n```', None),
        ('```json\n{"prompt": "\\ud800"}\n```', None),
        ("```json\n" + '{"prompt":' * 5000 + "1" + "}" * 5000 + "\n```", None),
        ("", None),
    ],
)
def test_the_prompt_is_the_orders(order: str, prompt: str | None) -> None:
    said = read_answer(f"{order}\n![x]({FIRST})")

    assert (said.revised_prompt, said.images, said.downgraded) == (prompt, (FIRST,), False)


@pytest.mark.parametrize(
    ("host", "is_the_store"),
    [
        ("oaidalleapiprodscus.blob.core.windows.net", True),
        ("OAIDALLEAPIPROD-2.blob.core.windows.net:443", True),
        ("oaidalleapiprodscus.blob.core.windows.net.evil.example", False),
        ("oaidalleapiprod.evil.example", False),
        ("other.blob.core.windows.net", False),
    ],
)
def test_a_link_in_a_sentence_that_names_no_file_is_an_image_only_from_the_store_of_dalle(
    host: str, is_the_store: bool
) -> None:
    link = f"https://{host}/img-1?sig=1"

    said = read_answer(f"Here: {link}。")

    assert (said.images, said.downgraded) == (((link,), True) if is_the_store else ((), False))
    assert read_answer(f"![x]({link})").downgraded is is_the_store


def test_a_link_to_the_store_beside_an_image_is_none() -> None:
    assert read_answer(f"![x]({FIRST})\n[more]({DALLE})") == ImageText((FIRST,))


def test_a_prompt_and_an_image_stay_out_of_logs() -> None:
    order = orjson.dumps({"prompt": "a secret"}).decode()
    shown = repr(read_answer(f"{order}\n![x]({PNG})"))

    assert "secret" not in shown
    assert "base64" not in shown
