"""The benchmarks run, on a small workload and without the packages of the peers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.measurements import (
    Comparison,
    Measurement,
    NoSamplesError,
    Samples,
    check_bound,
    samples_of,
    try_check_bound,
)
from benchmarks.peers import PEERS
from tests.conftest import ROOT
from tests.patience import PATIENCE


def run_benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command from the repository's root."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )


@pytest.mark.server
def test_the_steps_case_compares_stepgraph_with_the_floor() -> None:
    """Each peer runs three steps in its own process, on a real server. The tables have values of this case only."""
    process = run_benchmarks("--only", "steps", "--peers", "ours,floor", "--rounds", "1", "--steps", "3")
    assert "Traceback" not in process.stderr, process.stderr
    row = re.search(
        r"\| wall time per step, 3 sequential no-op nodes.*against the floor \| (\d+\.\d+) x \| at most 1.05 x",
        process.stdout,
    )
    assert row is not None, process.stdout + process.stderr
    assert float(row.group(1)) > 0
    events = re.search(r"\| history events per step, 3 sequential no-op nodes, `sync` \| (\d+\.\d+) \|", process.stdout)
    assert events is not None
    assert 6 < float(events.group(1)) < 15
    assert "| official: not part of this run | at most 1 x | - |" in process.stdout


@pytest.mark.server
def test_a_peer_that_is_not_installed_is_skipped() -> None:
    """The other peers run, and the report on stderr names the one that does not."""
    process = run_benchmarks("--only", "steps", "--peers", "floor,community", "--rounds", "1", "--steps", "1")
    assert "community is skipped: not installed" in process.stderr
    assert PEERS["floor"] in process.stdout
    assert PEERS["community"] not in process.stdout


def test_an_unknown_case_is_refused() -> None:
    """The error names the unknown case and lists those that exist."""
    process = run_benchmarks("--only", "steps,speed")
    assert (process.returncode, process.stdout) == (2, "")
    assert "speed: not one of steps, crowd" in process.stderr


@pytest.mark.parametrize(("direction", "met"), [("at most", False), ("at least", True)])
def test_a_median_is_compared_with_its_bound(direction: str, met: bool) -> None:
    """The median of the samples decides whether the bound is met, and the value shows the range of the samples."""
    samples = Samples((1.0, 3.0, 2.0))
    measurement = check_bound("speed", samples, "at most" if direction == "at most" else "at least", 1.5, unit=" x")
    expected = ("2.00 (1.00 to 3.00) x", f"{direction} 1.5 x", met)
    assert (measurement.value, measurement.bound, measurement.met) == expected


def test_ratios_are_taken_round_by_round() -> None:
    """Noise that affects a whole round cancels out of the round's ratio."""
    assert Samples((10.0, 40.0)).over(Samples((5.0, 20.0))).values == (2.0, 2.0)


def test_a_measurement_without_samples_has_the_reason_as_its_value() -> None:
    """The bound of such a measurement is neither met nor missed."""
    with pytest.raises(NoSamplesError, match="official: did not finish"):
        samples_of("official", {"official": "did not finish"}, lambda result: 1.0)
    measurement = try_check_bound(
        "speed", lambda: samples_of("ours", {"ours": "did not finish"}, lambda result: 1.0), "at most", 1
    )
    assert measurement == Measurement("speed", "did not finish", "at most 1", None)


def test_a_report_replaces_the_section_between_its_markers(tmp_path: Path) -> None:
    """The rest of the page stays as it is. A page without the markers is refused."""
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- figures -->\nold\n<!-- /figures -->\nafter\n")
    comparison = Comparison("time", "ms", {"ours": Samples((1.0,)), "dbos": "not installed"})
    report.replace_section(page, "figures", report.peers_table([comparison]))
    assert page.read_text() == (
        "before\n<!-- figures -->\n|  | time (ms) |\n| --- | --- |\n| **stepgraph** | 1.0 |\n"
        "| DBOS, SQLite | not installed |\n<!-- /figures -->\nafter\n"
    )
    with pytest.raises(SystemExit, match=r"page\.md has no <!-- tables -->"):
        report.replace_section(page, "tables", "new")
