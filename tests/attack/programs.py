"""A program: a thread of one of the attacked graphs in some situation, and the calls that then reach it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.attack.calls import Call, Foreign, Start
from tests.attack.live_thread import Situation


@dataclass(frozen=True)
class Program:
    """What a failing example prints."""

    on: Situation
    calls: tuple[Call, ...]
    kind: str = "sync-thread"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # hypothesis would print how it was made
        printer.text(repr(self))

    @property
    def damages(self) -> bool:
        """Whether a call brings a record of its own, so that reading may end in an error of stepgraph's."""
        return any(
            isinstance(call, Foreign) or (isinstance(call, Start) and "continued" in repr(call)) for call in self.calls
        )

    @property
    def ends(self) -> bool:
        """Whether the thread comes to rest afterwards: a foreign run may stay open for ever."""
        return not any(isinstance(call, Foreign) and call.end == "none" for call in self.calls)
