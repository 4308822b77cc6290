"""Errors that look like the key's fault and are the request's: what its prompt says, and how large it is.

A status alone does not tell. Some vendors refuse a prompt with the 403 that others use for a key without permission,
and many refuse a request that no allowance would ever be enough for with the 429 of a rate limit. Held against the key,
one such request would send everybody's next ones elsewhere. So the error's own names and words decide, by two tables of
rules; words about an account, a key or a model's permission are never a prompt's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain
from types import MappingProxyType

from gateway.core.late_patterns import compiled_late
from gateway.core.outcomes.error_codes import slug_of_code
from gateway.core.upstream_errors.upstream_error import UpstreamError

_LONGEST = 4_000
"""Characters of a message that are searched."""

_REFUSAL_NUMBERS = frozenset({1301})
"""Zhipu's number for content that is not safe."""

_REFUSAL_NAME = compiled_late(
    r"content_?polic|usage_?polic|policy_?violation|content_?(?:filter|moderation|safety|risk|inspection)"
    r"|data_?inspection|moderation|sensitive_?(?:word|content|text|information)|prohibited_?content|responsibleai"
    r"|(?:unsafe|harmful|inappropriate|flagged|illegal)_?(?:content|input|prompt)|flagged_input|image_safety|\Asafety\Z"
    r"|(?:prompt|input|output)_?(?:blocked|flagged|moderat)|safety_?(?:violation|check|block)|blocked_by_safety"
    r"|\Ablocklist\Z|\Aspii\Z|nsfw|guardrail_intervened|risk_?control_?content"
)
_NO_REFUSAL_NAME = compiled_late(
    r"(?<!inspection_)(?<!moderation_)error\Z|unavailable|timeout|disabled|not_configured|organi[sz]ation|account"
    r"|data_?policy|_required\Z"
)

_FLAGGED = (
    r"(?:flagg?ed|block(?:s|ed)|reject(?:s|ed)|refus(?:es|ed)|declined|filter(?:s|ed)|intercepted|trigger(?:s|ed|ing)"
    r"|tripped|caught|stopped|violat(?:es?|ed|ing|ions?)|(?:did|does|do|has|could|can)(?: not|n[o']t) pass(?:ed)?"
    r"|failed|not passed|not (?:allowed|permitted|accepted)|detected|unsafe)"
)
_POLICY = (
    r"(?:(?:content|usage|use|acceptable[ -]use|safety|community|moderation|generation|ai)"
    r"(?:[ -](?:management|moderation|usage|safety|generation|use))*"
    r"[ -](?:polic(?:y|ies)|guidelines?|rules|standards|terms)"
    r"|responsible ai|terms of (?:service|use)|community standards)"
)
_FILTER = (
    r"(?:content[ _-](?:filter(?:s|ing)?|moderation|safety|management|policy|polic(?:y|ies)|guard)"
    r"|safety[ -](?:system|filters?|settings?|checks?|classifiers?|checker|polic(?:y|ies)|guidelines?|reasons?"
    r"|concerns?|ratings?|measures)"
    r"|(?<!-)moderation(?!-)|guardrails?|responsible ai|nsfw)"
)
_PROMPT = (
    r"(?:prompts?|inputs?|requests?|messages?|contents?|texts?|images?|quer(?:y|ies)|conversations?|completions?|outputs?"
    r"|responses?|generations?)"
)
_GAP = r"[^.!?。]{0,80}?"
_BAD = (
    r"(?:inappropriate|unsafe|harmful|prohibited|disallowed|offensive|nsfw|sexual(?:ly explicit)?|explicit|violent"
    r"|objectionable|illegal|abusive|hateful)"
)

_REFUSALS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        name: compiled_late(pattern, re.IGNORECASE)
        for name, pattern in (
            ("stopped by a filter", rf"\b{_FLAGGED}\b{_GAP}\b{_FILTER}\b"),
            ("a filter stopped it", rf"\b{_FILTER}\b{_GAP}\b{_FLAGGED}\b"),
            (
                "against a policy",
                rf"\b(?:violat\w*|against|breach\w*|not comply with|contrary to)\b{_GAP}\b{_POLICY}\b",
            ),
            ("a policy refused it", rf"\b{_POLICY}\b{_GAP}\b(?:violat\w*|block(?:s|ed)|refus\w+)\b"),
            ("the prompt was flagged", rf"\b{_PROMPT}\b{_GAP}\b(?:flagged|moderated|considered high risk)\b"),
            (
                "the prompt was blocked",
                r"\b(?:prompt|content)s?(?: (?:was|were|is|are|has been|have been))? (?:blocked|filtered)\b",
            ),
            (
                "flagged for what it says",
                rf"\bflagged\b{_GAP}\b(?:{_BAD}|violence|harassment|hate|self-harm|sexual|illicit)\b",
            ),
            (
                "blocked for safety",
                r"\b(?:blocked|rejected|refused|stopped|filtered|prohibited)\b[^.!?]{0,40}?\b"
                r"(?:safety(?![_ -]identifier)|prohibited_content|image_safety|blocklist|spii)\b",
            ),
            (
                "bad content",
                rf"\b{_BAD}[ -](?:content(?![ -](?:type|length|encoding))|material|imagery|prompts?|images?)\b",
            ),
            (
                "bad is what it says",
                rf"\b(?:prompt|input|content)s?\b{_GAP}\b(?:is|are|was|(?:may|might|could|appears? to|seems? to) be)"
                r" (?:potentially |considered )?(?:unsafe|harmful|inappropriate|offensive|nsfw)\b",
            ),
            (
                "words named",
                r"\bcontain\w* (?:\w+ ){0,2}?(?:prohibited|blocked|banned|forbidden) (?:words?|terms?|phrases?)\b",
            ),
            (
                "content named",
                r"\b(?:contain\w*|includ\w*|depict\w*)\b[^.!?]{0,40}?\b"
                r"(?:hate speech|harassment|self-harm|violence|nudity|nsfw|profanity|gore|sexual \w+)\b",
            ),
            (
                "sensitive content",
                r"(?<!case[ -])\bsensitive (?:words?|content|topics?|terms?)\b|\b(?:contain\w* |new_)sensitive\b",
            ),
            ("a risk in the content", r"\bcontent exists risk\b|\bhigh[- ]risk (?:content|prompt)\b"),
            (
                "in Chinese",
                r"敏感(?:词|内容|信息|话题)?|违规内容|不(?:安全|合规)(?:或敏感)?(?:的)?内容|不当内容"
                r"|内容(?:违规|安全|审核|不合规|存在风险)|内容.{0,12}(?:违反|违规|拦截|屏蔽)"
                r"|审核(?:不|未|没有)通过|未(?:能)?通过.{0,8}审核|违法|色情|暴力|涉黄|涉政|违禁",
            ),
        )
    }
)
"""What a message says that refuses a prompt, by what it says."""

_SUBJECTS = (
    r"(?:accounts?|organi[sz]ations?|(?:api[ -]?)?keys?|tokens?|projects?|workspaces?|teams?|tenants?|subscriptions?"
    r"|users?|ip(?: address(?:es)?)?|countr(?:y|ies)|regions?|territor(?:y|ies)|location|billing|models?|providers?"
    r"|plan|tier|endpoints?)"
)
_NOT_THE_PROMPT: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        name: compiled_late(pattern, re.IGNORECASE)
        for name, pattern in (
            (
                "an account or a model is barred",
                rf"\b{_SUBJECTS}\b(?:['’]s)?(?: [\w\"'`./:-]+)?,? (?:was|were|is|are|has been|have been|been|got)"
                r" (?:\w+ ){0,2}?(?:flagged|suspended|banned|disabled|deactivated|terminated|restricted|blocked|barred"
                r"|locked|limited|frozen|revoked"
                r"|not (?:allowed|permitted|authori[sz]ed|available|enabled|supported|verified))\b",
            ),
            ("an account's deeds", rf"\b{_SUBJECTS}\b (?:\w+ ){{0,2}}?(?:violat|breach)\w*"),
            (
                "something does not permit it",
                rf"\b{_SUBJECTS}\b[^.]{{0,40}} (?:does not|doesn['’]t|do not|cannot|can['’]t|may not) "
                r"(?:have|allow|permit|access|use|support|include)\b",
            ),
            (
                "a permission is missing",
                r"\b(?:permissions?|not authori[sz]ed|unauthori[sz]ed|not entitled|not have access|no access"
                r"|access denied|access to (?:the |this )?(?:model|endpoint))\b",
            ),
            (
                "a parameter",
                r"\b(?:unknown|unsupported|unrecogni[sz]ed|invalid|unexpected|extra) (?:request )?"
                r"(?:parameter|value|argument|field|property|option)s?\b"
                r"|\b(?:parameter|argument|field|property|option)s?\b[^.]{0,60}\b"
                r"(?:not (?:allowed|permitted|accepted|supported)|unknown|invalid)\b",
            ),
            ("suspicious traffic", r"\b(?:bots?|vpn|proxy|fraud\w*|unusual (?:activity|traffic))\b"),
            (
                "an account, in Chinese",
                r"(?:账号|账户|帐号|帐户|令牌|密钥|用户|渠道|key).{0,12}"
                r"(?:封禁|封号|禁用|停用|冻结|限制|违规|风控|异常|无权)",
            ),
        )
    }
)
"""What a message says that is about something else, although a word of a refusal is in it."""

_OF_THE_PROMPT = compiled_late(
    rf"\b(?:your|the|this|a) (?:{_PROMPT}) (?:was|were|is|are|has been|have been) (?:\w+ ){{0,2}}"
    r"(?:flagged|filtered|moderated|rejected (?:by|as a result of) (?:our|the) safety)\b",
    re.IGNORECASE,
)
"""Words that are the prompt's although they go on to speak of an account ("your account may be …")."""

_NUMBER = r"(?<!\d)(\d[\d,_']{0,15}(?:\.\d{1,9})?)\s?([km])?\b"
_SIZES: Mapping[str, tuple[re.Pattern[str], re.Pattern[str]]] = MappingProxyType(
    {
        name: (compiled_late(asked, re.IGNORECASE), compiled_late(allowed, re.IGNORECASE))
        for name, asked, allowed in (
            (
                "limit and requested",
                r"\brequest(?:ed|ing| requires| needs| has)\b(?: tokens?)?"
                rf"\W{{0,3}}(?:is |was |about |has |have )?{_NUMBER}",
                rf"\b(?:limit|allowance|quota|maximum)\b\W{{0,3}}(?:is |was |of |set to )?{_NUMBER}",
            ),
            (
                "exceeds",
                rf"{_NUMBER}(?! requests)[^.\d]{{0,60}}?\b"
                r"(?:exceeds?|(?:is|are) (?:above|over|more than|larger than|greater than))\b",
                rf"\b(?:exceeds?|above|over|more than|larger than|greater than)\b[^.\d]{{0,80}}?{_NUMBER}",
            ),
        )
    }
)
"""How a message names the size of a request and the whole allowance: two patterns of one number each."""

_OF_ONE_REQUEST = compiled_late(r"\b(?:request|prompt|input|message)\b", re.IGNORECASE)
_OF_MANY = compiled_late(
    r"\b(?:used|usage|current(?:ly)?|last|past|already|so far|request (?:rate|count|frequency|volume)|requests)\b",
    re.IGNORECASE,
)
"""What a message that compares two numbers is about: one request, or all of the last minute."""

_TOO_LARGE = compiled_late(
    r"\b(?:this|your|the|a single) (?:request|prompt|message|input) (?:is|was) (?:far )?"
    r"(?:too (?:large|big|long)|larger than)"
    r"|\brequest too (?:large|big|long)\b|\b(?:prompt|input) too (?:large|long)\b|请求(?:内容|体)?过[大长]",
    re.IGNORECASE,
)


_EMPTY_ACCOUNT = compiled_late(r"\A\W*your credit balance is too low\b", re.IGNORECASE)
"""Anthropic's words for an account without money, which come with the status and the type of a wrong request."""


def names_an_empty_account(error: UpstreamError) -> bool:
    """Whether an error that looks like the request's fault says that the account has no money."""
    return error.message is not None and _EMPTY_ACCOUNT.search(error.message[:_LONGEST]) is not None


def names_the_prompt(error: UpstreamError) -> bool:
    """Whether an error that refuses a request does so for what its prompt says."""
    if error.code in _REFUSAL_NUMBERS or any(map(is_refusal_name, chain((error.code, error.type), error.names))):
        return True
    # A code such as ``unsupported_parameter`` says that the words are about something else.
    if isinstance(error.code, str) and slug_of_code(error.code) == "rejected":
        return False
    return refusing_rule(error.message) is not None


def is_refusal_name(name: str | int | None) -> bool:
    """Whether an error's code or type names the refusal of a prompt."""
    if not isinstance(name, str):
        return False
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])|[\s.-]+", "_", name.strip()).lower()
    return _REFUSAL_NAME.search(plain) is not None and _NO_REFUSAL_NAME.search(plain) is None


def refusing_rule(message: str | None) -> str | None:
    """The name of the rule by which a message refuses a prompt; None if it does not."""
    if message is None:
        return None
    text = message[:_LONGEST]
    rule = next((name for name, pattern in _REFUSALS.items() if pattern.search(text)), None)
    if rule is None or _OF_THE_PROMPT.search(text):
        return rule
    return None if any(pattern.search(text) for pattern in _NOT_THE_PROMPT.values()) else rule


def exceeds_every_allowance(message: str | None) -> bool:
    """Whether a message says that one request is larger than all that is ever allowed at once.

    Where it tells both numbers they decide: "Limit 30000, Used 29000, Requested 5000" is cured by waiting. An allowance
    of 0 says nothing about the request.
    """
    if message is None:
        return False
    text = message[:_LONGEST]
    for name, (asked, allowed) in _SIZES.items():
        if name == "exceeds" and (_OF_MANY.search(text) or not _OF_ONE_REQUEST.search(text)):
            continue
        wanted, most = _size(asked.search(text)), _size(allowed.search(text))
        if wanted is not None and most is not None:
            return 0 < most < wanted
    return _TOO_LARGE.search(text) is not None


def _size(found: re.Match[str] | None) -> float | None:
    if found is None:
        return None
    number = float(re.sub(r"[,_']", "", found[1]))
    return number * {"k": 1_000, "m": 1_000_000}.get((found[2] or "").lower(), 1)
