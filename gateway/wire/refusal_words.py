"""Words by which an image model refuses a prompt, told from any other words.

Only these are the client's affair. Words that are not understood may say anything: that the upstream has trouble, or
where the image is.
"""

from __future__ import annotations

import re

from gateway.core.late_patterns import compiled_late

_MOST_SEARCHED = 4000
"""Characters of an answer that are searched; a refusal is a sentence or two."""

_RULES = compiled_late(
    r"""
    (?<![a-z])(?:input|output)_moderation(?![a-z])
    | \bviolat(?:es?|ed|ing|ions?)\b
    | \b(?:against|breaks?|breach\w*|contrary\ to|conflicts?\ with|within|under|due\ to|because\ of)[ ]
        (?:\w+['’]?\w*\ ){0,3}(?:rules?|polic(?:y|ies)|guidelines?|terms|restrictions?)\b
    | \b(?:content|usage|safety|use)\ polic(?:y|ies)\b
    | \b(?:content|safety|moderation)\ (?:filters?|systems?|checks?|restrictions?|guidelines?|reasons?|concerns?)\b
    | \b(?:was|were|been|is|are|got)\ (?:moderated|flagged|blocked|rejected)\b
    | \bmoderation\ (?:refused|blocked|rejected|failed)\b | \b(?:did|does)\ ?n['’o]t\ pass\ (?:\w+\ ){0,2}moderation\b
    | \b(?:not|n['’]t)\ (?:allowed|permitted)\ to\b
    | 违反 | 违规 | (?:内容|使用|安全)(?:政策|规范|准则) | 敏感(?:内容|词|信息) | 不当内容 | 侵权 | 色情
    | (?:未|没有?|不)(?:能)?通过.{0,6}审核
    | ポリシー | 規約 | 정책 | verst(?:ö|oe)(?:ß|ss)t | richtlinien? | politiques?\ (?:d|de)\b | pol[íi]ticas?\ d
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Words about rules."""

_MAKE = (
    r"(?:generat|creat|mak|made?|produc|draw|paint|depict|render|edit|modif|alter|help|assist|fulfil|comply"
    r"|do\ (?:that|this)|provid|process|portray|design|illustrat)"
)
_UNWILLING = compiled_late(
    rf"""
    \b(?:can(?:not|\ not|['’]?t)|wo(?:n['’]?t)|will\ not|(?:un|not\ )able\ to|could(?:n['’]t|\ not)
        |must\ (?:decline|refuse)\ to|(?:refuse|decline)d?\ to)\ (?:\w+\ ){{0,3}}{_MAKE}\w*
    | \bI\ will\ not\b(?=[.!]) | \bno,\ sorry\b
    | (?:无法|不能|不可以|不会|無法|不予).{{0,12}}(?:生成|创建|制作|绘制|画|提供|处理|完成|协助)
    | (?:生成|作成|描く)(?:する)?(?:こと)?(?:は|が)?(?:でき|お断り) | 만들\ 수\ 없
    | \bkann\ (?:\w+\ ){{0,6}}nicht\ (?:erstell|erzeug|mal|zeichn|generier)
    | \bne\ p(?:eux|uis)\ pas\ (?:cr[ée]er|g[ée]n[ée]rer|dessiner)
    | \bn[oã]o?\ (?:puedo|posso)\ (?:crear|generar|criar|gerar|dibujar|creare|generare)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_TROUBLE = compiled_late(
    r"""rate.?limit | too\ many | \btr(?:y|ies|ying)\ again | \blater\b | \bbusy\b | overload | time.?out | timed\ out
        | unavailable | \bquota\b | \bcapacity\b | \b(?:an|some|internal|server|network)\ errors?\b | \btechnical\b
        | \bfew\ (?:minutes|moments|seconds)
        | 稍后 | 繁忙 | 超时 | 重试 | 限流 | 频率 | 错误 | 异常 | 网络 | 服务器 | 额度""",
    re.VERBOSE | re.IGNORECASE,
)
"""Words about the upstream's own trouble, which is no refusal."""


def is_refused(words: str) -> bool:
    """Whether words say that rules forbid the image, or that the model will not make it."""
    words = words[:_MOST_SEARCHED]
    if _RULES.search(words) is not None:
        return True
    return _UNWILLING.search(words) is not None and _TROUBLE.search(words) is None
