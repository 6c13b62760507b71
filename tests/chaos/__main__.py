"""The command ``python -m tests.chaos [--seconds 300] [--workers 3] [--clients 6] [--burners 2] [--seed 0]``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from dataclasses import fields

from tests.chaos.chaos_run import Plan, run


def main() -> int:
    """Run, and print the figures. Returns 1 if something was lost, doubled, stuck, unreadable or failed."""
    parser = argparse.ArgumentParser("python -m tests.chaos", description="Kills workers and servers under threads.")
    for each in fields(Plan):
        kind = type(each.default) if each.default is not None else float
        parser.add_argument(f"--{each.name.replace('_', '-')}", type=kind, default=each.default)
    plan = Plan(**vars(parser.parse_args()))
    logging.getLogger("temporalio").setLevel(logging.ERROR)  # that the server is away for a moment is no news here
    figures, verdict = asyncio.run(run(plan, lambda line: print(line, file=sys.stderr, flush=True)))
    for name, value in figures.items():
        print(f"{name:42} {value}")
    for fault in verdict.faults:
        print(fault)
    return int(bool(verdict.faults))


if __name__ == "__main__":
    sys.exit(main())
