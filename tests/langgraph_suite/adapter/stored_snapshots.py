"""The fixture ``snapshot``: compares texts and data with those that LangGraph's tests have stored (files of syrupy)."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent
from typing import Any

_STORED = re.compile(r"^# name: (.*?)\n(.*?)^# ---", re.MULTILINE | re.DOTALL)
_CONSTRUCTORS = {"dict": dict, "list": list, "tuple": tuple, "set": set}


class StoredSnapshots:
    """The stored snapshots of one test, in the order in which it compares them."""

    def __init__(self, file: Path, test: str) -> None:
        path = file.parent / "__snapshots__" / f"{file.stem}.ambr"
        self._stored = dict(_STORED.findall(path.read_text())) if path.exists() else {}
        self._test = test.replace("[asyncio-", "[").removesuffix("[asyncio]")  # what anyio adds
        self._count = 0

    def __eq__(self, value: Any) -> bool:
        name = self._test + (f".{self._count}" if self._count else "")
        self._count += 1
        text = dedent(self._stored[name]).strip("\n")
        if text.startswith("'''\n"):
            return bool(value == dedent(text[4:-3]).removesuffix("\n"))
        return bool(value == eval(text, _CONSTRUCTORS))  # data of a package that is installed, too

    __hash__ = None  # type: ignore[assignment]
