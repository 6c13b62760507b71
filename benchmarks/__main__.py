"""The command ``python -m benchmarks [--only steps,reads] [--peers ours,floor] [--rounds 3] [--quick] [--write]``.

Owns the options, the server of a run, and where the tables go. What is measured is up to `benchmarks.cases`.
"""

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
from benchmarks.bench import FULL, QUICK, Bench, Workload
from benchmarks.cases import CASES
from benchmarks.measurements import CaseResult
from benchmarks.peer_process import peer_process
from benchmarks.peers import PEERS
from benchmarks.peers.peer import PeerError
from benchmarks.server import dev_server

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BUSY_LOAD_PER_CORE = 0.5
"""The load average per core above which the command warns that the machine is too busy."""
PLOT = (
    "![For each peer: wall time per step, steps per second, wall time per step with durability async, bytes stored per "
    "step](benchmarks.png)"
)
HEADLINE = (
    "Measured side by side, in one run on one machine ([all of it](docs/benchmarks.md); `make bench` does it again):"
)


def main() -> int:
    """Runs the benchmarks and prints the tables. Returns 1 if a bound is not met, otherwise 0."""
    options = _argument_parser().parse_args()
    workload = QUICK if options.quick else FULL
    workload = replace(
        workload,
        rounds=options.rounds or workload.rounds,
        chain_steps=options.steps or workload.chain_steps,
    )
    start, load = time.perf_counter(), os.getloadavg()[0]
    if load > BUSY_LOAD_PER_CORE * (os.cpu_count() or 1):
        log(f"Warning: this machine is busy (load average {load:.1f}), so the measurements will be unreliable.")
    results, versions = asyncio.run(run_cases(options.only, options.peers, workload))
    measurements = [measurement for result in results.values() for measurement in result.measurements]
    comparisons = [comparison for result in results.values() for comparison in result.comparisons]
    tables = "\n\n".join(
        [report.bounds_table(measurements), report.peers_table(comparisons), report.machine_line(versions, load)]
    )
    print(f"\n{tables}\n\nFinished in {time.perf_counter() - start:.0f} s.")
    if options.write:
        from benchmarks.plot import draw  # here, because it needs matplotlib

        report.replace_section(DOCS / "benchmarks.md", "figures", f"\n{PLOT}\n\n{tables}\n")
        report.replace_section(
            ROOT / "README.md", "benchmarks", f"\n{HEADLINE}\n\n{report.headlines_table(measurements)}\n"
        )
        draw(comparisons, DOCS / "benchmarks.png")
    missed = sum(measurement.met is False for measurement in measurements)
    log(f"{missed} of {len(measurements)} bounds not met.")
    return int(missed > 0)


async def run_cases(
    cases: list[str], peers: list[str], workload: Workload
) -> tuple[dict[str, CaseResult], dict[str, str]]:
    """Runs benchmark cases on one server. A peer whose packages are not installed is skipped.

    Returns:
        The result of each case, and the version of each package that the peers use.
    """
    versions: dict[str, str] = {}
    results: dict[str, CaseResult] = {}
    with tempfile.TemporaryDirectory(prefix="stepgraph-bench-") as temporary:
        folder = Path(temporary)
        async with dev_server(folder) as address, AsyncExitStack() as processes:
            available = {}
            for name in peers:
                peer = await processes.enter_async_context(peer_process(name, address, folder))
                try:
                    versions.update(await peer.call("versions"))
                except PeerError as error:
                    log(f"{name} is skipped: {error}")
                else:
                    available[name] = peer
            bench = Bench(address, folder, available, workload, log)
            for name in cases:
                log(f"{name}:")
                results[name] = await CASES[name](bench)
                for measurement in results[name].measurements:
                    log(
                        f"  {measurement.measure}: {measurement.value} [{measurement.bound}: {measurement.met_as_text}]"
                    )
    return results, versions


def log(line: str) -> None:
    """Prints a line of progress to stderr."""
    print(line, file=sys.stderr, flush=True)


def _argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description="Compares stepgraph with its peers.")
    parser.add_argument("--only", type=_names_of(list(CASES)), default=list(CASES), help=f"cases: {', '.join(CASES)}")
    parser.add_argument("--peers", type=_names_of(list(PEERS)), default=list(PEERS), help=f"peers: {', '.join(PEERS)}")
    parser.add_argument("--rounds", type=int, help=f"measured rounds; {FULL.rounds} by default")
    parser.add_argument("--steps", type=int, help=f"nodes of the case 'steps'; {FULL.chain_steps} by default")
    parser.add_argument("--quick", action="store_true", help="a smaller workload")
    parser.add_argument("--write", action="store_true", help="write the tables and the plot to docs/ and the README")
    return parser


def _names_of(known: list[str]) -> Callable[[str], list[str]]:
    """Returns a parser for a comma-separated list of known names. It returns them in the order of ``known``."""

    def parse(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",")]
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(known)}")
        return [name for name in known if name in names]

    return parse


if __name__ == "__main__":
    sys.exit(main())
