"""The report: a table of files, the reasons, and the tests that fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import get_args

from tests.langgraph_suite.known_differences import Known
from tests.langgraph_suite.run_suite import Outcome, Verdict

BAD: tuple[Verdict, ...] = ("failed", "no longer differs")
"""The verdicts that make the command fail."""

MESSAGE_MAX = 300
"""Characters of a failure's message that the report shows."""


def report(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield f"{'':44}{'tests':>7}{'passed':>8}{'no run':>8}{'differs':>9}{'n/a':>6}{'failed':>8}"
    for mode in dict.fromkeys(outcome.mode for outcome in outcomes):
        of_mode = [outcome for outcome in outcomes if outcome.mode == mode]
        for name in dict.fromkeys((outcome.package, outcome.file) for outcome in of_mode):
            yield _row("  " + name[1], [outcome for outcome in of_mode if (outcome.package, outcome.file) == name])
        yield _row(mode, of_mode)
    yield "no run: of those passed, the tests that run no graph, but look at a definition, a drawing or a function"
    for verdict in ("not applicable", "differs"):
        reasons = Counter((o.mode, o.reason) for o in outcomes if o.verdict == verdict)
        yield f"\n{verdict}:"
        yield from (f"  {count:>5}  {mode:6} {reason}" for (mode, reason), count in reasons.most_common())
    for outcome in outcomes:
        if outcome.verdict in BAD:
            yield f"\n{outcome.verdict}: {outcome.mode} {outcome.test}\n    {outcome.reason[:MESSAGE_MAX]}"


def unused_patterns(known: Sequence[Known], outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield the patterns that name no test of a mode that they are for."""
    used = {(outcome.mode, outcome.pattern) for outcome in outcomes}
    for entry in known:
        for pattern in entry.tests:
            if not any((mode, pattern) in used for mode in entry.modes):
                yield pattern


def _row(title: str, outcomes: Sequence[Outcome]) -> str:
    count = Counter(outcome.verdict for outcome in outcomes)
    assert set(count) <= set(get_args(Verdict))
    without_run = sum(outcome.verdict == "passed" and not outcome.ran for outcome in outcomes)
    bad = sum(count[verdict] for verdict in BAD)
    return (
        f"{title:44}{len(outcomes):>7}{count['passed']:>8}{without_run:>8}{count['differs']:>9}"
        f"{count['not applicable']:>6}{bad:>8}"
    )
