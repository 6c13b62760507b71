"""``make parity``: LangGraph's tests against stepgraph. It fails if a test fails that is not known to differ.

Examples:
    make parity PARITY="--file test_pregel.py --mode adopt -k send"
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from tests.conftest import dev_server
from tests.langgraph_suite.known_differences import MODES, known_differences
from tests.langgraph_suite.report import BAD, report, unused_patterns
from tests.langgraph_suite.run_suite import FILES, run_suite


def main() -> None:
    """Run the tests, and print the report."""
    parser = argparse.ArgumentParser(
        prog="make parity", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--file", action="append", default=[], help="run only this file; may be given several times")
    parser.add_argument("--mode", choices=[*MODES, "langgraph"], help="langgraph runs LangGraph itself, as a check")
    parser.add_argument("-k", default="", help="run only tests whose names match, as pytest's -k")
    parser.add_argument("-n", default="2", help="processes")
    parser.add_argument("--server", action="store_true", help="run graphs on a Temporal server, not in memory")
    given = parser.parse_args()
    if given.server:
        asyncio.run(_on_server(given))
    else:
        _run(given)


async def _on_server(given: argparse.Namespace) -> None:
    """Run the tests on a server of their own."""
    async with dev_server() as server:
        os.environ["TEMPORAL_ADDRESS"] = server.client.service_client.config.target_host
        os.environ["LANGGRAPH_SUITE_SERVER"] = "1"
        await asyncio.to_thread(_run, given)


def _run(given: argparse.Namespace) -> None:
    known = known_differences() if given.mode != "langgraph" else []
    outcomes = []
    for package, all_files in FILES.items():
        files = [file for file in all_files if file in (given.file or all_files)]
        modes = (given.mode,) if given.mode else MODES if package == "langgraph" else ("adopt",)
        for mode in modes if files else ():
            options = ["-n", given.n, *(["-k", given.k] if given.k else [])]
            outcomes += run_suite(package, mode, known, files=files, options=options)
    print("\n".join(report(outcomes)))
    unused = [] if given.file or given.mode or given.k else list(unused_patterns(known, outcomes))
    for pattern in unused:
        print(f"\nknown_differences.toml names {pattern}, which is no test.")
    sys.exit(1 if unused or any(outcome.verdict in BAD for outcome in outcomes) else 0)


if __name__ == "__main__":
    main()
