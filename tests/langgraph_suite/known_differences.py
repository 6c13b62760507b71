"""Which of LangGraph's tests differ, and which are not applicable: ``known_differences.toml``, by test and reason.

A pattern is the name of a file (``test_pregel.py``), of a test (``test_pregel.py::test_send*``), or of one case of it
(``test_pregel.py::test_send[memory-exit]``). ``*`` stands for any text.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

FILE = Path(__file__).with_suffix(".toml")

Kind = Literal["differs", "not_applicable"]
MODES = ("ours", "adopt")


@dataclass(frozen=True)
class Known:
    """Tests of which it is known that they differ, or that they are not applicable."""

    kind: Kind
    reason: str
    tests: tuple[str, ...]
    modes: tuple[str, ...] = MODES

    def pattern_for(self, mode: str, test: str) -> str | None:
        """Return the pattern that names the test, if there is one."""
        if mode not in self.modes:
            return None
        return next((pattern for pattern in self.tests if _names(pattern, test)), None)


def known_differences() -> list[Known]:
    """Return what the file says, in its order."""
    data = tomllib.loads(FILE.read_text())
    kinds: tuple[Kind, ...] = ("not_applicable", "differs")
    return [
        Known(kind, entry["reason"], tuple(entry["tests"]), tuple(entry.get("modes", MODES)))
        for kind in kinds
        for entry in data.get(kind, [])
    ]


def _names(pattern: str, test: str) -> bool:
    name = test if "[" in pattern else test.partition("[")[0]
    return fnmatchcase(name if "::" in pattern else test.partition("::")[0], pattern.replace("[", "[[]"))
