"""The report: tables in Markdown, for the terminal, `docs/benchmarks.md` and the README."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.measurements import Comparison, Measurement, Samples
from benchmarks.peers import PEERS


def bounds_table(measurements: Iterable[Measurement]) -> str:
    """Returns a table of all measurements, with their bounds and whether they are met."""
    return _table(
        ["measure", "found", "bound", "met"],
        [[each.measure, each.value, each.bound, each.met_as_text] for each in measurements],
    )


def headlines_table(measurements: Iterable[Measurement]) -> str:
    """Returns a table of the measurements that the README shows."""
    return _table(["measure", "found"], [[each.headline, each.value] for each in measurements if each.headline])


def peers_table(comparisons: Iterable[Comparison]) -> str:
    """Returns a table with a row for each peer and a column for each comparison."""
    columns = list(comparisons)
    names = [name for name in PEERS if any(name in column.peers for column in columns)]
    return _table(
        ["", *(f"{column.title} ({column.unit})" for column in columns)],
        [[_label(name), *(_cell(column, name) for column in columns)] for name in names],
    )


def machine_line(versions: Mapping[str, str], load: float) -> str:
    """Returns a line that describes the machine and the versions of packages.

    Args:
        versions: the version of each package.
        load: the load average of the machine before the run.
    """
    packages = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), load average {load:.1f} before the run, {platform.system()}, "
        f"Python {platform.python_version()}; "
        f"{packages}."
    )


def replace_section(path: Path, name: str, text: str) -> None:
    """Replaces the text of a file between ``<!-- name -->`` and ``<!-- /name -->``."""
    start_marker, end_marker = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, _, rest = path.read_text().partition(start_marker)
    _, end_found, after = rest.partition(end_marker)
    if not end_found:
        raise SystemExit(f"{path} has no {start_marker} ... {end_marker}.")
    path.write_text(f"{before}{start_marker}\n{text}\n{end_marker}{after}")


def _cell(comparison: Comparison, name: str) -> str:
    samples = comparison.peers.get(name, "")
    return samples.show(comparison.pattern) if isinstance(samples, Samples) else samples


def _label(name: str) -> str:
    return f"**{PEERS[name]}**" if name == "ours" else PEERS[name]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
