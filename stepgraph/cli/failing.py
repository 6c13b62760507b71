"""How a command fails: one clear message and an exit status, never a traceback."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import typer
from temporalio.service import RPCError, RPCStatusCode

from stepgraph.errors import StepgraphError

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T], *, as_json: bool = False) -> T:
    """Runs a command's work. What goes wrong is told, and ends the process with status 1; Ctrl-C with 130."""
    with failing(as_json=as_json):
        return asyncio.run(work)


@contextmanager
def failing(*, as_json: bool = False) -> Iterator[None]:
    """Tells of errors rather than letting them out."""
    try:
        yield
    except StepgraphError as error:
        tell(error, as_json=as_json)
        raise typer.Exit(1) from None
    except RPCError as error:
        tell(_of_rpc(error), as_json=as_json)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        print("Interrupted. What runs on workers goes on.", file=sys.stderr)
        raise typer.Exit(130) from None


def tell(error: StepgraphError, *, as_json: bool) -> None:
    """The error on standard error, or as JSON on standard output."""
    if as_json:
        print(json.dumps({"error": error.to_wire()}, default=str))
    else:
        print(f"Error: {error}", file=sys.stderr)


def _of_rpc(error: RPCError) -> StepgraphError:
    if error.status in (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
        return StepgraphError(f"The Temporal server stopped answering: {error}. Try again once it is back.")
    return StepgraphError(f"The Temporal server refused: {error}")
