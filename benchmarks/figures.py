"""What a benchmark says: samples of peers, and figures with the bounds they are to keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

Sense = Literal["at most", "at least"]


@dataclass(frozen=True)
class Samples:
    """One thing measured several times, round after round."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The one in the middle."""
        return median(self.values)

    @property
    def low(self) -> float:
        """The least."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The most."""
        return max(self.values)

    def over(self, other: Samples) -> Samples:
        """The ratios, round by round: what a round had to suffer, both suffered."""
        return Samples(tuple(mine / theirs for mine, theirs in zip(self.values, other.values, strict=True)))

    def show(self, pattern: str = "{:.2f}") -> str:
        """As text: ``1.02 (0.98 to 1.07)``."""
        middle, low, high = (pattern.format(value) for value in (self.median, self.low, self.high))
        return middle if low == high else f"{middle} ({low} to {high})"


@dataclass(frozen=True)
class Figure:
    """One line of the table of bounds."""

    measure: str
    value: str
    bound: str
    met: bool | None
    """`None` where nothing could be measured; the value says why."""

    @property
    def verdict(self) -> str:
        """In one word."""
        return {True: "yes", False: "NO", None: "-"}[self.met]


@dataclass(frozen=True)
class Comparison:
    """One thing measured of every peer: a table, and a panel of the plot."""

    title: str
    unit: str
    peers: dict[str, Samples | str]
    """Peer -> its samples, or why it has none."""
    pattern: str = "{:.1f}"


@dataclass(frozen=True)
class Outcome:
    """What a case found."""

    figures: list[Figure] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)


def judged(
    measure: str, found: Samples, sense: Sense, limit: float, *, unit: str = "", pattern: str = "{:.2f}"
) -> Figure:
    """A figure whose median is held against a bound."""
    met = found.median <= limit if sense == "at most" else found.median >= limit
    return Figure(measure, found.show(pattern) + unit, f"{sense} {limit:g}{unit}", met)


def missing(measure: str, why: str, sense: Sense, limit: float, *, unit: str = "") -> Figure:
    """A figure that could not be had."""
    return Figure(measure, why, f"{sense} {limit:g}{unit}", None)


def judge(
    measure: str, find: Callable[[], Samples], sense: Sense, limit: float, *, unit: str = "", pattern: str = "{:.2f}"
) -> Figure:
    """`judged` what is found, or `missing` with the reason a `Missing` gives."""
    try:
        found = find()
    except Missing as reason:
        return missing(measure, str(reason), sense, limit, unit=unit)
    return judged(measure, found, sense, limit, unit=unit, pattern=pattern)


class Missing(Exception):
    """There is nothing to compute a figure from; says why."""


Works = Sequence[dict[str, Any]] | str
"""What a peer did in each round, or why it did not."""


def samples(peer: str, works: dict[str, Works], value: Callable[[dict[str, Any]], float]) -> Samples:
    """One number of each round of a peer. `Missing` if it did nothing."""
    done = works.get(peer, "not asked")
    if isinstance(done, str):
        raise Missing(f"{peer}: {done}" if peer != "ours" else done)
    return Samples(tuple(value(work) for work in done))


def compared(
    title: str, unit: str, works: dict[str, Works], value: Callable[[dict[str, Any]], float], pattern: str = "{:.1f}"
) -> Comparison:
    """One number of every peer."""
    peers: dict[str, Samples | str] = {
        name: done if isinstance(done, str) else samples(name, works, value) for name, done in works.items()
    }
    return Comparison(title, unit, peers, pattern)
