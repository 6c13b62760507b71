"""``worker.py`` / ``stepgraph-worker``: a process that runs graphs' nodes until it is told to stop.

It polls a task queue for each of its graphs, and the entrance, ``stepgraph``, for runs that were started by hand. On
SIGTERM it takes no more work, lets running nodes finish for as long as `STEPGRAPH_GRACEFUL_SHUTDOWN_SECONDS` says, and ends with
status 0; what is not done by then, another worker does again.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

import typer

from stepgraph.cli import error_output as failing
from stepgraph.cli.graph_loader import load_graphs
from stepgraph.errors import StepgraphError, UnknownGraphError
from stepgraph.execution.registry import GraphRegistry
from stepgraph.hosting.connection import connect
from stepgraph.hosting.graph_worker import graph_worker
from stepgraph.protocol.names import SHARED_TASK_QUEUE, task_queue_of
from stepgraph.temporal import settings
from stepgraph.temporal.logs import configure_logging, get_logger
from stepgraph.temporal.storage import check as check_storage

MAX_DRAIN_SECONDS = 86_400

log = get_logger("worker")
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def worker(
    more_graphs: Annotated[list[str] | None, typer.Argument(metavar="[ADDRESS]...", help="More graphs.")] = None,
    graphs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS", help="MODULE:VARIABLE or FILE.py:VARIABLE; may be repeated. Also STEPGRAPH_GRAPHS."
        ),
    ] = None,
    task_queue: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The one task queue to poll, instead of one for each graph. Also STEPGRAPH_TASK_QUEUE."
        ),
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="console or json. Also STEPGRAPH_LOG_FORMAT.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Only see whether the settings are right, the graphs load, Temporal answers."),
    ] = False,
) -> None:
    """Runs the nodes of graphs until told to stop (SIGTERM, or Ctrl-C)."""
    with failing.failing():
        configure_logging(log_format)
        addresses = [*(graphs or ()), *(more_graphs or ())] or [settings.text("STEPGRAPH_GRAPHS", "") or ""]
        asyncio.run(_work(addresses, task_queue or settings.text("STEPGRAPH_TASK_QUEUE"), check=check))


def main() -> None:
    """The console command."""
    app()


async def _work(addresses: Sequence[str], task_queue: str | None, *, check: bool) -> None:
    settings.run_settings()  # what a run reads of them later, it had better refuse now
    drain = _drain()
    graphs = load_graphs(addresses)
    if not graphs:
        raise UnknownGraphError(
            "A worker needs graphs: worker.py --graphs MODULE:VARIABLE, or STEPGRAPH_GRAPHS=MODULE:VARIABLE."
        )
    client, server = await connect()
    log.info(str(server))
    await check_storage(client)
    served = _served([graph.registry for graph in graphs], task_queue)
    about = {"graphs": [graph.name for graph in graphs], "task_queues": list(served)}
    if check:
        log.info("worker could start", **about)
        return
    stop = _stop_signal()
    workers = [graph_worker(client, registries, task_queue=queue, grace=drain) for queue, registries in served.items()]
    running = [asyncio.ensure_future(worker.run()) for worker in workers]
    log.info("worker starts", **about)
    waited_for: list[asyncio.Future[Any]] = [stop, *running]
    await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
    if stop.done():
        log.info("worker drains", signal=stop.result(), seconds=drain.total_seconds())
    await asyncio.gather(*(worker.shutdown() for worker in workers))
    for ended in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(ended, BaseException):
            raise StepgraphError(f"The worker cannot go on: {' '.join(str(ended).split())}") from ended
    log.info("worker stopped")


def _served(graphs: list[GraphRegistry], task_queue: str | None) -> dict[str, list[GraphRegistry]]:
    """Task queue -> graphs: one for each graph and the entrance for all; or all on the queue that was named."""
    if task_queue:
        return {task_queue: graphs}
    return {**{task_queue_of(graph.name): [graph] for graph in graphs}, SHARED_TASK_QUEUE: graphs}


def _drain() -> timedelta:
    seconds = settings.number("STEPGRAPH_GRACEFUL_SHUTDOWN_SECONDS", 30)
    if seconds > MAX_DRAIN_SECONDS:
        raise StepgraphError(
            f"STEPGRAPH_GRACEFUL_SHUTDOWN_SECONDS may be {MAX_DRAIN_SECONDS:,} at the most; got {seconds:g}.",
            setting="STEPGRAPH_GRACEFUL_SHUTDOWN_SECONDS",
        )
    return timedelta(seconds=seconds)


def _stop_signal() -> asyncio.Future[str]:
    """Done at the first SIGTERM or SIGINT; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[str] = loop.create_future()

    def on(received: signal.Signals) -> None:
        told.set_result(received.name)
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, on, each)
    return told
