"""The benchmarks run, on little work and without the packages of the peers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.figures import Comparison, Figure, Missing, Samples, judge, judged, samples
from benchmarks.peers import PEERS
from tests.conftest import ROOT


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, from the repository's root."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_a_few_steps_of_ours_are_held_against_the_floor() -> None:
    """Three steps each, in processes of their own, on a real server: a table with figures, and nothing else runs."""
    done = bench("--only", "steps", "--peers", "ours,floor", "--rounds", "1", "--steps", "3")
    assert "Traceback" not in done.stderr, done.stderr
    row = re.search(
        r"\| wall time a step, 3 no-op nodes.*against the floor \| (\d+\.\d+) x \| at most 1.1 x", done.stdout
    )
    assert row is not None, done.stdout + done.stderr
    assert 0 < float(row.group(1)) < 50
    events = re.search(r"\| history events a step, same \| (\d+\.\d+) \|", done.stdout)
    assert events is not None
    assert 6 < float(events.group(1)) < 15
    assert "| official: not asked | at most 1 x | - |" in done.stdout


def test_a_peer_that_is_not_installed_takes_no_part() -> None:
    """The others run without it, and it is named."""
    done = bench("--only", "steps", "--peers", "floor,community", "--rounds", "1", "--steps", "1")
    assert "community takes no part: is not installed" in done.stderr
    assert PEERS["floor"] in done.stdout
    assert PEERS["community"] not in done.stdout


def test_what_there_is_not_is_refused() -> None:
    """A case or a peer that does not exist is named, with those that do."""
    done = bench("--only", "steps,speed")
    assert (done.returncode, done.stdout) == (2, "")
    assert "speed: not one of steps, crowd" in done.stderr


@pytest.mark.parametrize(("sense", "met"), [("at most", False), ("at least", True)])
def test_a_median_is_held_against_its_bound(sense: str, met: bool) -> None:
    """The one in the middle counts, and the spread is shown."""
    figure = judged("speed", Samples((1.0, 3.0, 2.0)), "at most" if sense == "at most" else "at least", 1.5, unit=" x")
    assert (figure.value, figure.bound, figure.met) == ("2.00 (1.00 to 3.00) x", f"{sense} 1.5 x", met)


def test_ratios_are_taken_round_by_round() -> None:
    """Noise that a round's peers share goes out of its ratio."""
    assert Samples((10.0, 40.0)).over(Samples((5.0, 20.0))).values == (2.0, 2.0)


def test_what_a_peer_could_not_do_is_said_in_place_of_a_figure() -> None:
    """It is neither met nor missed."""
    with pytest.raises(Missing, match="official: did not end"):
        samples("official", {"official": "did not end"}, lambda work: 1.0)
    figure = judge("speed", lambda: samples("ours", {"ours": "not there yet"}, lambda work: 1.0), "at most", 1)
    assert figure == Figure("speed", "not there yet", "at most 1", None)


def test_a_report_replaces_what_is_between_its_marks(tmp_path: Path) -> None:
    """And nothing else of the page."""
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- figures -->\nold\n<!-- /figures -->\nafter\n")
    comparison = Comparison("time", "ms", {"ours": Samples((1.0,)), "dbos": "is not installed"})
    report.put(page, "figures", report.peers([comparison]))
    assert page.read_text() == (
        "before\n<!-- figures -->\n|  | time (ms) |\n| --- | --- |\n| **stepgraph** | 1.0 |\n"
        "| DBOS, SQLite | is not installed |\n<!-- /figures -->\nafter\n"
    )
    with pytest.raises(SystemExit, match=r"page\.md has no <!-- tables -->"):
        report.put(page, "tables", "new")
