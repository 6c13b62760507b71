"""Declares the arguments and options that several commands take."""

from __future__ import annotations

from enum import StrEnum
from importlib.metadata import version
from typing import Annotated

import typer

GraphArgument = Annotated[
    str,
    typer.Argument(
        metavar="GRAPH",
        help="A graph's name, served by a worker; or MODULE:VARIABLE or FILE.py:VARIABLE, "
        "which brings a worker of its own.",
    ),
]
GraphOption = Annotated[
    str | None,
    typer.Option("--graph", metavar="ADDRESS", help="MODULE:VARIABLE or FILE.py:VARIABLE: brings a worker of its own."),
]
ThreadArgument = Annotated[str, typer.Argument(metavar="THREAD", help="The thread's id.")]


class Busy(StrEnum):
    """What to do with the input if the thread is running."""

    REFUSE = "refuse"
    ENQUEUE = "enqueue"
    CANCEL = "cancel"


OnBusy = Annotated[
    Busy,
    typer.Option(help="If the thread is running: refuse; enqueue the input; or cancel its nodes, and run next."),
]
RecursionLimit = Annotated[int | None, typer.Option(metavar="STEPS", min=1, help="Super-steps allowed.")]
Detach = Annotated[bool, typer.Option("--detach", help="Do not wait for the end; a worker elsewhere does the work.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"stepgraph {version('stepgraph')}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and end.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
