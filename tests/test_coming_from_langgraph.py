"""The page for people who come from LangGraph: what it says is shown by tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "coming-from-langgraph.md"
VERDICTS = {"same", "better", "different", "not there"}
FUNCTION = re.compile(r"^(?:async )?def (\w+)", re.MULTILINE)


def table_rows() -> list[list[str]]:
    """Return the cells of each row of the page's tables, without the heads."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in cells if row[0] != "feature"]


def test_every_row_has_a_verdict_and_names_what_shows_it() -> None:
    """A row says same, better, different or not there, and a row names functions or files of tests that exist."""
    functions = {name for file in TESTS.rglob("*.py") for name in FUNCTION.findall(file.read_text())}
    rows = table_rows()
    assert len(rows) > 80
    for feature, verdict, _, shown_by in rows:
        assert verdict in VERDICTS, feature
        names = re.findall(r"`([^`]+)`", shown_by)
        assert names, f"{feature}: no test is named"
        for name in names:
            assert (TESTS / name).is_file() if name.endswith(".py") else name in functions, f"{feature}: {name}"
