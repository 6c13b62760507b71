"""The page ``docs/deployments.md`` as the tests read it: its tables, and the errors that it quotes."""

from __future__ import annotations

import re
from functools import cache

from tests.conftest import ROOT
from tests.temporal.deployments.changes import State, Stop

SPECS = ("0f1e2d3c4b5a", "5a4b3c2d1e0f")
"""The hashes of specs that the page uses, in the order in which an error names them."""

PAGE = ROOT / "docs" / "deployments.md"


@cache
def table() -> dict[str, dict[State, str]]:
    """The lines of all tables whose columns are the states: by the change, the outcome in each state."""
    lines: dict[str, dict[State, str]] = {}
    columns: list[str] = []
    for line in PAGE.read_text().splitlines():
        parts = [part.strip().replace(r"\|", "|") for part in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        if parts[1:] == list(State):
            columns = parts[1:]
        elif not parts:
            columns = []
        elif columns and not parts[0].startswith("---"):
            assert parts[0] not in lines, f"twice in the table: {parts[0]}"
            lines[parts[0]] = dict(zip(State, parts[1:], strict=True))
    return lines


def quoted_error(stop: Stop) -> str:
    """Return the error that the section of a stop quotes, as one line."""
    section = re.search(rf"^#+ {re.escape(stop)}\n(.*?)(?=^#|\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert section is not None, f"there is no section {stop!r}"
    quote = re.search(r"^```text\n(.*?)^```", section[1], re.MULTILINE | re.DOTALL)
    assert quote is not None, f"section {stop!r} quotes no error"
    return " ".join(quote[1].split())


def anonymous(message: str, graph: str) -> str:
    """Return an error's message as the page quotes it: with the names that the page uses for threads and graphs."""
    message = re.sub(r"thread-[0-9a-f]{12}", "thread-1", message.replace(repr(graph), "'research'"))
    for spec, name in zip(dict.fromkeys(re.findall(r"\b[0-9a-f]{12}\b", message)), SPECS, strict=False):
        message = message.replace(spec, name)
    return " ".join(message.split())
