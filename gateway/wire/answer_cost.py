"""``usage.cost``: how an answer tells what its virtual key is charged.

The name is the one that OpenRouter made usual. Where this gateway tells costs, the field is its own: an upstream's word
of the same name says what the upstream asks of us, and would be taken for the key's bill.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

_FIELD = "cost"


@dataclass(frozen=True, slots=True)
class AnswerCost:
    """What the key is charged for an answer.

    ``usd``: US dollars as an exact decimal; None if that is not known, and then nothing is told.
    """

    usd: str | None

    def in_usage(self, usage: Mapping[str, Any]) -> dict[str, Any]:
        """``usage`` with this cost in place of any other, its further fields as they came.

        Only orjson can write it: the cost stands in it digit by digit, since a float would come out as ``1.25e-05``.
        """
        if self.usd is None:
            return {name: value for name, value in usage.items() if name != _FIELD}
        return {**usage, _FIELD: orjson.Fragment(self.usd)}
