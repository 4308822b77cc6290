"""Makes the calls it is told to, one after the other: one order a line on stdin, one JSON line of report on stdout.

    in   {"call": "chat/stream", "key": "gw-…", "prompt": "…"}
    out  {"call": "chat/stream", "ok": true, "seen": {"text": "…", "pieces": 12}}
         {"call": "chat/stream", "ok": false, "seen": {"error": "RateLimitError", "text": "what it says"}}

``BASE_URL`` of the environment is the gateway, without ``/v1``. What a client prints itself goes to stderr. This file
knows no client and needs nothing but Python.
"""

import asyncio
import inspect
import json
import os
import sys
import traceback

BASE_URL = os.environ.get("BASE_URL", "")
V1 = f"{BASE_URL}/v1"


def weather(city):
    """What the tool of the calls answers."""
    return f"21 degrees in {city}"


def serve(calls):
    """``calls``: name → function of the order, plain or async, that returns what was seen."""
    reports = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            order = json.loads(line)
            report = {"call": order["call"], **_made(calls[order["call"]], order, runner)}
            reports.write(json.dumps(report) + "\n")
            reports.flush()


def _made(call, order, runner):
    try:
        seen = call(order)
        if inspect.isawaitable(seen):
            seen = runner.run(_awaited(seen))
    except BaseException as error:  # noqa: BLE001  what a client raises is what is looked at
        traceback.print_exc()
        causes = [error]
        while (cause := causes[-1].__cause__) is not None and cause not in causes:
            causes.append(cause)
        told = {"error": " < ".join(type(cause).__name__ for cause in causes), "text": str(error)}
        return {"ok": False, "seen": {**told, "status": getattr(error, "status_code", None)}}
    return {"ok": True, "seen": seen}


async def _awaited(seen):
    return await seen
