"""Records histories: ``python -m tests.replay.record row asking`` records these scenarios.

Without names it records all of them anew. Do that only after a change that breaks threads in flight.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import socket
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, Stage, dev_server
from tests.replay.scenarios import SCENARIOS

FOLDER = Path(__file__).parent / "histories"


async def record(names: Collection[str]) -> None:
    """Perform the scenarios on a real server and save the histories of their runs, oldest run first."""
    os.environ["STEPGRAPH_CONTINUE_AS_NEW_STEPS"] = "5"
    os.environ["STEPGRAPH_FUSED_STEPS"] = "3"
    FOLDER.mkdir(exist_ok=True)
    async with dev_server() as server:
        for name, (graph, perform) in SCENARIOS.items():
            if name not in names:
                continue
            for old in FOLDER.glob(f"{name}-*.json"):
                old.unlink()
            stage = Stage(server.client)
            config = stage.thread()
            async with stage.serving(graph):
                await perform(stage.use(graph), config)
            for number, run in enumerate(reversed(await stage.runs(stage.threads[0])), start=1):
                events = json.loads((await stage.history(run)).to_json())
                (FOLDER / f"{name}-{number}.json").write_text(json.dumps(_anonymous(events), indent=1) + "\n")


def _anonymous(value: Any) -> Any:
    """Return the value without the names of this machine, in text, payloads and stack traces."""
    if isinstance(value, dict):
        if isinstance(value.get("data"), str) and "metadata" in value:
            data = _anonymous(base64.b64decode(value["data"]).decode())
            return {**value, "data": base64.b64encode(data.encode()).decode()}
        return {key: _anonymous(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_anonymous(item) for item in value]
    if isinstance(value, str):
        for place in (str(ROOT), sys.prefix, sys.base_prefix):
            value = value.replace(place, "")
        return re.sub(rf"\d+@{re.escape(socket.gethostname())}", "worker", value)
    return value


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:] or list(SCENARIOS)))
