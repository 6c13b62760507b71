"""The results of benchmark cases: samples of each peer, measurements with their bounds, and comparisons of all peers.

Plain data and arithmetic. How samples are taken is up to `Bench` and the cases; how results look is up to `report` and
`plot`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

Direction = Literal["at most", "at least"]

PeerResults = Sequence[dict[str, Any]] | str
"""A peer's result of each round, as `PeerHost.measure` returns it, or why the peer failed."""


class NoSamplesError(Exception):
    """A peer has no samples; the message says why."""


@dataclass(frozen=True)
class Samples:
    """One quantity, measured once per round."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the samples."""
        return median(self.values)

    @property
    def low(self) -> float:
        """The smallest sample."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest sample."""
        return max(self.values)

    def over(self, other: Samples) -> Samples:
        """Returns the ratio of each round. Noise of the machine that affects the whole round cancels out."""
        return Samples(tuple(mine / theirs for mine, theirs in zip(self.values, other.values, strict=True)))

    def show(self, pattern: str = "{:.2f}") -> str:
        """Returns the median with the range as text: ``1.02 (0.98 to 1.07)``."""
        middle, low, high = (pattern.format(value) for value in (self.median, self.low, self.high))
        return middle if low == high else f"{middle} ({low} to {high})"


@dataclass(frozen=True)
class Measurement:
    """One measured quantity and its bound: a row of the bounds table."""

    measure: str
    """What was measured."""
    value: str
    bound: str
    met: bool | None
    """Whether the bound is met; `None` if nothing was measured, and then ``value`` says why."""
    headline: str = ""
    """The label of this measurement in the README; empty if the README does not show it."""

    @property
    def met_as_text(self) -> str:
        """``met`` as a word of the table."""
        return {True: "yes", False: "NO", None: "-"}[self.met]


@dataclass(frozen=True)
class Comparison:
    """One quantity, measured for every peer: a column of the peers table and a panel of the plot."""

    title: str
    unit: str
    peers: dict[str, Samples | str]
    """Peer -> its samples, or why it has none."""
    pattern: str = "{:.1f}"


@dataclass(frozen=True)
class CaseResult:
    """What a benchmark case measured."""

    measurements: list[Measurement] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)


def check_bound(
    measure: str,
    samples: Samples,
    direction: Direction,
    limit: float,
    *,
    unit: str = "",
    pattern: str = "{:.2f}",
    headline: str = "",
) -> Measurement:
    """Compares the median of samples with a bound.

    Args:
        measure: what was measured.
        samples: the samples.
        direction: whether the limit is an upper or a lower bound.
        limit: the bound, in the unit of the samples.
        unit: the unit as text, with a leading space.
        pattern: the format of a number.
        headline: see `Measurement`.
    """
    met = samples.median <= limit if direction == "at most" else samples.median >= limit
    return Measurement(measure, samples.show(pattern) + unit, f"{direction} {limit:g}{unit}", met, headline)


def try_check_bound(
    measure: str,
    take_samples: Callable[[], Samples],
    direction: Direction,
    limit: float,
    *,
    unit: str = "",
    pattern: str = "{:.2f}",
    headline: str = "",
) -> Measurement:
    """Compares samples with a bound, as `check_bound` does, where a peer may have none.

    If ``take_samples`` raises `NoSamplesError`, the measurement has the reason in place of a value, and its bound is
    neither met nor missed.
    """
    try:
        samples = take_samples()
    except NoSamplesError as error:
        return Measurement(measure, str(error), f"{direction} {limit:g}{unit}", None)
    return check_bound(measure, samples, direction, limit, unit=unit, pattern=pattern, headline=headline)


def samples_of(peer: str, results: dict[str, PeerResults], quantity: Callable[[dict[str, Any]], float]) -> Samples:
    """Returns one quantity of each round of a peer.

    Raises:
        NoSamplesError: the peer failed, or is not part of the run.
    """
    rounds = results.get(peer, "not part of this run")
    if isinstance(rounds, str):
        raise NoSamplesError(f"{peer}: {rounds}" if peer != "ours" else rounds)
    return Samples(tuple(quantity(result) for result in rounds))


def compare_peers(
    title: str,
    unit: str,
    results: dict[str, PeerResults],
    quantity: Callable[[dict[str, Any]], float],
    pattern: str = "{:.1f}",
) -> Comparison:
    """Returns one quantity of every peer, or why the peer has none."""
    peers: dict[str, Samples | str] = {
        name: rounds if isinstance(rounds, str) else samples_of(name, results, quantity)
        for name, rounds in results.items()
    }
    return Comparison(title, unit, peers, pattern)
