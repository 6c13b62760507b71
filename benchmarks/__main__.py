"""The command: ``python -m benchmarks [--only steps,reads] [--peers ours,floor] [--rounds 3] [--quick] [--write]``."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks import report
from benchmarks.bench import FULL, QUICK, Bench, Size
from benchmarks.cases import CASES
from benchmarks.figures import Outcome
from benchmarks.hosted import hosted
from benchmarks.peers import PEERS
from benchmarks.peers.peer import Unable
from benchmarks.server import dev_server

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
QUIET = 0.5
"""The load, per core, above which a machine is too busy to measure on."""
PLOT = (
    "![For each peer: wall time a step, steps a second, wall time a step with durability async, bytes stored a "
    "step](benchmarks.png)"
)
HEADLINE = (
    "Measured side by side, in one run on one machine, against the bounds the project holds itself to "
    "([all of it](docs/benchmarks.md); `make bench` does it again):"
)


def main() -> int:
    """The command; 1 if a bound is not met."""
    wanted = _arguments().parse_args()
    size = QUICK if wanted.quick else FULL
    size = replace(size, rounds=wanted.rounds or size.rounds, chain=wanted.steps or size.chain)
    began, load = time.perf_counter(), os.getloadavg()[0]
    if load > QUIET * (os.cpu_count() or 1):
        say(f"This machine has other work to do (load {load:.1f}): what is found will say little. Run it alone.")
    outcomes, versions = asyncio.run(run(wanted.only, wanted.peers, size))
    figures = [figure for outcome in outcomes.values() for figure in outcome.figures]
    comparisons = [each for outcome in outcomes.values() for each in outcome.comparisons]
    tables = f"{report.bounds(figures)}\n\n{report.peers(comparisons)}\n\n{report.machine(versions, load)}"
    print(f"\n{tables}\n\n{time.perf_counter() - began:.0f} s in all.")
    if wanted.write:
        from benchmarks.plot import draw

        report.put(DOCS / "benchmarks.md", "figures", f"\n{PLOT}\n\n{tables}\n")
        report.put(ROOT / "README.md", "benchmarks", f"\n{HEADLINE}\n\n{report.bounds(figures)}\n")
        draw(comparisons, DOCS / "benchmarks.png")
    missed = sum(figure.met is False for figure in figures)
    say(f"{missed or 'None'} of {len(figures)} bounds not met.")
    return int(missed > 0)


async def run(cases: list[str], peers: list[str], size: Size) -> tuple[dict[str, Outcome], dict[str, str]]:
    """The cases with the peers, on one server; what each found, and the versions of what took part."""
    versions: dict[str, str] = {}
    outcomes: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="stepgraph-bench-") as place:
        folder = Path(place)
        async with dev_server(folder) as address, AsyncExitStack() as up:
            taking_part = {}
            for name in peers:
                peer = await up.enter_async_context(hosted(name, address, folder))
                try:
                    versions.update(await peer.call("versions"))
                except Unable as reason:
                    say(f"{name} takes no part: {reason}")
                else:
                    taking_part[name] = peer
            bench = Bench(address, folder, taking_part, size, say)
            for name in cases:
                say(f"{name}:")
                outcomes[name] = await CASES[name](bench)
                for figure in outcomes[name].figures:
                    say(f"  {figure.measure}: {figure.value} [{figure.bound}: {figure.verdict}]")
    return outcomes, versions


def say(line: str) -> None:
    """Tells what is going on."""
    print(line, file=sys.stderr, flush=True)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description="stepgraph side by side with its peers.")
    parser.add_argument("--only", type=_some_of(list(CASES)), default=list(CASES), help=", ".join(CASES))
    parser.add_argument("--peers", type=_some_of(list(PEERS)), default=list(PEERS), help=", ".join(PEERS))
    parser.add_argument("--rounds", type=int, help=f"rounds that count; {FULL.rounds} by default")
    parser.add_argument("--steps", type=int, help=f"nodes in a row of the case 'steps'; {FULL.chain} by default")
    parser.add_argument("--quick", action="store_true", help="less work, for a first look")
    parser.add_argument("--write", action="store_true", help="put what is found into docs/ and the README")
    return parser


def _some_of(known: list[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        wanted = [name.strip() for name in text.split(",")]
        if unknown := [name for name in wanted if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(known)}")
        return [name for name in known if name in wanted]

    return parse


if __name__ == "__main__":
    sys.exit(main())
