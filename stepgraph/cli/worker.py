"""``worker.py`` / ``stepgraph-worker``: a process that runs graphs' nodes until it is told to stop.

It polls a task queue for each of its graphs, and the entrance, ``stepgraph``, for runs that were started by hand. On
SIGTERM it takes no more work, lets running nodes finish for as long as `STEPGRAPH_DRAIN_SECONDS` says, and ends with
status 0; what is not done by then, another worker does again.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

import typer
from temporalio.client import Client
from temporalio.worker import Worker

from stepgraph import settings
from stepgraph.cli import failing
from stepgraph.cli.loading import load_graphs
from stepgraph.compiled import CompiledGraph
from stepgraph.errors import UnknownGraphError
from stepgraph.logs import configure_logging, get_logger
from stepgraph.plugin import GraphPlugin
from stepgraph.server.connection import connect
from stepgraph.wire import ENTRANCE, task_queue_of

log = get_logger("worker")
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def worker(
    graphs: Annotated[
        list[str] | None,
        typer.Option(help="module:variable or path/to/file.py:variable; several. Also STEPGRAPH_GRAPHS."),
    ] = None,
    task_queue: Annotated[
        str | None,
        typer.Option(help="The one task queue to poll, instead of one for each graph. Also STEPGRAPH_TASK_QUEUE."),
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="console or json. Also STEPGRAPH_LOG_FORMAT.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only see whether Temporal answers and the graphs load.")
    ] = False,
) -> None:
    """Runs the nodes of graphs until told to stop (SIGTERM, or Ctrl-C)."""
    with failing.failing():
        configure_logging(log_format)
        asyncio.run(_work(graphs or [settings.text("STEPGRAPH_GRAPHS", "") or ""], task_queue, check=check))


def main() -> None:
    """The console command."""
    app()


async def _work(addresses: Sequence[str], task_queue: str | None, *, check: bool) -> None:
    graphs = load_graphs(addresses)
    if not graphs:
        raise UnknownGraphError(
            "A worker needs graphs: worker.py --graphs MODULE:VARIABLE, or STEPGRAPH_GRAPHS=MODULE:VARIABLE."
        )
    client, server = await connect()
    log.info(str(server))
    if check:
        return
    task_queue = task_queue or settings.text("STEPGRAPH_TASK_QUEUE")
    drain = timedelta(seconds=settings.number("STEPGRAPH_DRAIN_SECONDS", 30))
    workers = _workers(client, graphs, task_queue, drain)
    log.info(
        "worker starts",
        graphs=[graph.name for graph in graphs],
        task_queues=[worker.task_queue for worker in workers],
    )
    running = [asyncio.ensure_future(worker.run()) for worker in workers]
    stop = _stop_signal()
    waited_for: list[asyncio.Future[Any]] = [stop, *running]
    await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
    if stop.done():
        log.info("worker drains", signal=stop.result(), seconds=drain.total_seconds())
        await asyncio.gather(*(worker.shutdown() for worker in workers))
    await asyncio.gather(*running)
    log.info("worker stopped")


def _workers(client: Client, graphs: list[CompiledGraph], task_queue: str | None, drain: timedelta) -> list[Worker]:
    """A worker for each graph's queue, and one for the entrance; one for all on a queue that was named."""
    served = {task_queue: graphs} if task_queue else {**{task_queue_of(g.name): [g] for g in graphs}, ENTRANCE: graphs}
    return [
        Worker(client, task_queue=queue, plugins=[GraphPlugin(its_graphs)], graceful_shutdown_timeout=drain)
        for queue, its_graphs in served.items()
    ]


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
