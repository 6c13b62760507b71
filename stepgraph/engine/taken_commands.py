"""The commands that a thread has taken lately, by the ids that their callers gave them.

A caller whose answer is lost sends its command again, under the same id, perhaps to the thread's next run. The thread
remembers the ids, and answers a repeated command with what became of the first one. The memory is in the thread's
record, so it crosses from run to run.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from stepgraph.serde.formats import Data

MAX_REMEMBERED: Final = 200
"""How many commands a thread remembers. They take some 30 KB of its record."""

REMEMBERED_FOR: Final = timedelta(hours=1)
"""How long a thread remembers a command. A client gives up long before."""


class TakenCommand(Data):
    """A command that was applied, and where that led."""

    id: str
    """The id that the caller gave it."""
    run_id: str
    """The run that applied it."""
    checkpoint_id: str | None
    """The thread's head after it."""
    taken_at: str
    """ISO 8601, UTC."""


class TakenCommands:
    """The commands that a thread remembers, the oldest first."""

    def __init__(self, commands: Iterable[TakenCommand] = ()) -> None:
        self._by_id = {command.id: command for command in commands}

    @property
    def all(self) -> tuple[TakenCommand, ...]:
        """All of them, the oldest first."""
        return tuple(self._by_id.values())

    def find(self, id: str) -> TakenCommand | None:
        """Return the command with this id; `None` if the thread has not taken it, or has forgotten it."""
        return self._by_id.get(id)

    def add(self, command: TakenCommand) -> None:
        """Remember a command. Forget those that are too old or too many."""
        self._by_id[command.id] = command
        oldest = datetime.fromisoformat(command.taken_at) - REMEMBERED_FOR
        recent = [each for each in self.all[-MAX_REMEMBERED:] if datetime.fromisoformat(each.taken_at) >= oldest]
        self._by_id = {each.id: each for each in recent}
