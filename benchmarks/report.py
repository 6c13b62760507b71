"""The report: tables in Markdown, for the terminal, `docs/benchmarks.md` and the README."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.figures import Comparison, Figure, Samples
from benchmarks.peers import PEERS


def bounds(figures: Iterable[Figure]) -> str:
    """Every figure, its bound, and whether it is met."""
    return _table(
        ["measure", "found", "bound", "met"], [[each.measure, each.value, each.bound, each.verdict] for each in figures]
    )


def peers(comparisons: Iterable[Comparison]) -> str:
    """Every comparison as a column."""
    columns = list(comparisons)
    names = [name for name in PEERS if any(name in each.peers for each in columns)]
    return _table(
        ["", *(f"{each.title} ({each.unit})" for each in columns)],
        [[_name(name), *(_shown(each, name) for each in columns)] for name in names],
    )


def machine(versions: Mapping[str, str], load: float) -> str:
    """What it was measured on; ``load`` is what the machine had to do before."""
    packages = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return (
        f"{os.cpu_count()} cores ({platform.machine()}) at a load of {load:.1f} beforehand, {platform.system()}, "
        f"Python {platform.python_version()}; "
        f"{packages}."
    )


def put(path: Path, mark: str, text: str) -> None:
    """Replaces what a file has between ``<!-- mark -->`` and ``<!-- /mark -->``."""
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    before, _, rest = path.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{path} has no {begin} ... {end}.")
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def _shown(comparison: Comparison, name: str) -> str:
    found = comparison.peers.get(name, "")
    return found.show(comparison.pattern) if isinstance(found, Samples) else found


def _name(name: str) -> str:
    return f"**{PEERS[name]}**" if name == "ours" else PEERS[name]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
