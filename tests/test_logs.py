"""What stepgraph logs: where, in which format, and never again on a replay."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypedDict

import pytest
from temporalio import activity, workflow
from temporalio.client import WorkflowFailureError
from temporalio.common import RetryPolicy as TemporalRetryPolicy

from stepgraph import END, START, StateGraph
from stepgraph.errors import StepgraphError
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.temporal import logs
from stepgraph.temporal.logs import configure_logging, get_logger
from tests.conftest import ROOT, Stage, replayer
from tests.patience import PATIENCE


@contextmanager
def configured(format: str | None = None, level: str | None = None) -> Iterator[None]:
    """Configure logging with `configure_logging`; afterwards restore what it was, with pytest's own handlers."""
    root = logging.getLogger()
    handlers, threshold = root.handlers[:], root.level
    for handler in handlers:
        root.removeHandler(handler)
    try:
        configure_logging(format, level)
        yield
    finally:
        for handler in root.handlers[:]:
            root.removeHandler(handler)
        for handler in handlers:
            root.addHandler(handler)
        root.setLevel(threshold)
        logs._format = ""


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the settings of the environment in which the tests run."""
    for name in ("STEPGRAPH_LOG_FORMAT", "STEPGRAPH_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)


class State(TypedDict):
    query: str
    answer: str


def fragile(failures: int = 0) -> CompiledGraph:
    """Return a graph of one node, which fails the first times."""
    calls: list[str] = []

    def reply(state: State) -> dict[str, str]:
        calls.append("reply")
        if len(calls) <= failures:
            raise ConnectionError("no route")
        return {"answer": state["query"].upper()}

    builder = StateGraph(State).add_node(reply)
    return builder.add_edge(START, "reply").add_edge("reply", END).compile(name="fragile")


def records_in(captured: str) -> list[dict[str, Any]]:
    """Return the records of a JSON log."""
    return [json.loads(line) for line in captured.splitlines()]


# Formats


def test_the_json_format_has_one_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    """An object has event, timestamp, level, logger and every bound key; text is not escaped."""
    with configured("json"):
        log = get_logger("worker").bind(graph="research", step=3)
        log.info("node starts", node="Zürich", seen={"a": [1, None]})
        log.warning("odd", what=object)
    out, err = capsys.readouterr()
    first, second = records_in(err)
    assert out == ""
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "event": "node starts",
        "level": "info",
        "logger": "stepgraph.worker",
        "graph": "research",
        "step": 3,
        "node": "Zürich",
        "seen": {"a": [1, None]},
    }
    assert "Zürich" in err
    assert second["what"] == "<class 'object'>"


def test_the_console_format_is_readable_text(capsys: pytest.CaptureFixture[str]) -> None:
    """A line has level, event and keys, and no colours where there is no terminal."""
    with configured("console"):
        get_logger("worker").info("node starts", graph="research", step=3)
    _, err = capsys.readouterr()
    assert "[info" in err
    assert "node starts" in err
    assert "graph=research" in err
    assert "step=3" in err
    assert "\x1b" not in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_traceback_is_part_of_its_record(format: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In JSON the traceback is text under ``exception``; on the console it is below the line."""
    with configured(format):
        try:
            raise ConnectionError("no route")
        except ConnectionError:
            get_logger("worker").exception("lost")
    _, err = capsys.readouterr()
    if format == "json":
        (record,) = records_in(err)
        assert "ConnectionError: no route" in record["exception"]
        assert record["level"] == "error"
    else:
        assert "lost" in err
        assert "ConnectionError: no route" in err


def test_logs_of_other_libraries_have_the_same_format(capsys: pytest.CaptureFixture[str]) -> None:
    """Log records of Temporal's SDK go to the same stream."""
    with configured("json"):
        logging.getLogger("temporalio.worker").info("polling %s", "here")
    (record,) = records_in(capsys.readouterr().err)
    assert (record["event"], record["logger"], record["level"]) == ("polling here", "temporalio.worker", "info")


def test_settings_choose_format_and_level(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Their values may be in any case; without settings the format is JSON where there is no terminal."""
    log = get_logger("worker")
    with configured():
        log.debug("too fine")
        log.info("as ever")
    monkeypatch.setenv("STEPGRAPH_LOG_LEVEL", "Warning")
    with configured():
        log.info("too low")
        log.warning("grave")
    assert [record["event"] for record in records_in(capsys.readouterr().err)] == ["as ever", "grave"]
    monkeypatch.setenv("STEPGRAPH_LOG_FORMAT", "console")
    with configured(level="debug"):
        log.debug("fine")
    assert "[debug" in capsys.readouterr().err


def test_an_invalid_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the variable, the valid values and the actual one; logging does not change."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    monkeypatch.setenv("STEPGRAPH_LOG_FORMAT", "xml")
    with pytest.raises(StepgraphError, match="STEPGRAPH_LOG_FORMAT must be 'console' or 'json'; got 'xml'") as caught:
        configure_logging()
    assert caught.value.setting == "STEPGRAPH_LOG_FORMAT"
    monkeypatch.setenv("STEPGRAPH_LOG_FORMAT", "json")
    monkeypatch.setenv("STEPGRAPH_LOG_LEVEL", "loud")
    with pytest.raises(StepgraphError, match="STEPGRAPH_LOG_LEVEL must be debug, info, warning or error; got 'loud'"):
        configure_logging()
    assert (root.handlers, root.level) == before


def test_a_worker_with_an_invalid_setting_ends_with_an_error() -> None:
    """It prints one line, and does not connect to a server."""
    ended = subprocess.run(
        [sys.executable, "worker.py", "--graphs", "examples.research:graph"],
        cwd=ROOT,
        env={**os.environ, "STEPGRAPH_LOG_LEVEL": "loud"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode != 0
    assert "STEPGRAPH_LOG_LEVEL must be debug, info, warning or error; got 'loud'" in ended.stderr
    assert "Traceback" not in ended.stderr


# Without configuration

UNCONFIGURED = """
from stepgraph.temporal.logs import get_logger

log = get_logger("session").bind(graph="research")
log.debug("one")
log.info("two")
log.warning("three", node="a b", step=3)
try:
    raise ConnectionError("no route")
except ConnectionError:
    log.exception("four")
"""


def test_without_configuration_warnings_are_printed_as_plain_lines() -> None:
    """A line has the event and its keys, without colours; a traceback looks as Python prints it."""
    ended = subprocess.run(
        [sys.executable, "-c", UNCONFIGURED], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert ended.stdout == ""
    first, second, *traceback = ended.stderr.splitlines()
    assert first == "three graph='research' node='a b' step=3"
    assert second == "four graph='research'"
    assert traceback[0] == "Traceback (most recent call last):"
    assert traceback[-1] == "ConnectionError: no route"


def test_events_reach_the_logging_configuration_of_a_program(caplog: pytest.LogCaptureFixture) -> None:
    """They come from the loggers ``stepgraph.*``, as text with keys; a percent sign has no special meaning."""
    caplog.set_level(logging.INFO, "stepgraph")
    get_logger("worker").info("100%s done", step=3)
    assert caplog.record_tuples == [("stepgraph.worker", logging.INFO, "100%s done step=3")]


async def test_a_failing_node_is_one_line_at_warning(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """The line has node, thread and checkpoint; the SDK does not log the failure again with a traceback."""
    graph = fragile(failures=1)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ConnectionError) as caught:
            await client.ainvoke({"query": "x"}, config)
        await client.ainvoke(None, config)
    assert isinstance(caught.value, StepgraphError)
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.name == "stepgraph.node"
    assert record.getMessage().startswith("node failed graph='fragile' ")
    thread_id = config["configurable"]["thread_id"]
    for key in (f"thread={thread_id!r}", "step=2", "node='reply'", "error='ConnectionError: no route'"):
        assert key in record.getMessage()
    assert f"checkpoint_id={caught.value.checkpoint_id!r}" in record.getMessage()


@activity.defn
async def fail() -> None:
    """An activity of the user that always fails."""
    raise RuntimeError("my own fault")


@workflow.defn(sandboxed=False)
class Own:
    """A workflow of the user."""

    @workflow.run
    async def run(self) -> None:
        """Run the activity once."""
        await workflow.execute_activity(
            fail,
            start_to_close_timeout=timedelta(seconds=PATIENCE),
            retry_policy=TemporalRetryPolicy(maximum_attempts=1),
        )


async def test_the_sdk_still_logs_failures_of_other_activities(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """On a worker with graphs, failures of the user's activities are logged as without graphs."""
    graph = fragile()
    stage.use(graph)
    async with stage.serving(graph, workflows=[Own], activities=[fail]):
        with pytest.raises(WorkflowFailureError):
            await stage.client.execute_workflow(Own.run, id=f"own-{stage.task_queue}", task_queue=stage.task_queue)
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.name == "temporalio.activity"
    assert record.getMessage().startswith("Completing activity as failed")
    assert "my own fault" in caplog.text


# What a run logs


async def test_log_records_of_a_run_have_its_keys(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """They have graph, thread, run, step, node and checkpoint id where these are known, so logs can be filtered."""
    graph = fragile(failures=1)
    client, config = stage.use(graph), stage.thread()
    with configured("json"):
        async with stage.serving(graph):
            with pytest.raises(ConnectionError):
                await client.ainvoke({"query": "x"}, config)
            await client.ainvoke(None, config)
    thread_id = config["configurable"]["thread_id"]
    records = [each for each in records_in(capsys.readouterr().err) if each["logger"].startswith("stepgraph.")]
    assert [(record["logger"], record["event"]) for record in records] == [
        ("stepgraph.node", "node starts"),
        ("stepgraph.node", "node failed"),
        ("stepgraph.workflow", "run failed"),
        ("stepgraph.node", "node starts"),
        ("stepgraph.node", "node done"),
        ("stepgraph.workflow", "super-step done"),
        ("stepgraph.workflow", "graph has finished"),
    ]
    assert {(record["graph"], record["thread"]) for record in records} == {("fragile", thread_id)}
    second, first = await stage.runs(thread_id)
    assert [record["run"] for record in records] == [first.run_id] * 3 + [second.run_id] * 4
    assert {record["step"] for record in records if "step" in record} == {2}
    assert {record["node"] for record in records if "node" in record} == {"reply"}
    head = (await client.aget_state(config)).checkpoint_id
    failed = f"{first.run_id}.000002"
    assert [record.get("checkpoint_id") for record in records] == [failed] * 5 + [head, None]


async def test_the_log_of_a_run_hides_the_texts_of_errors(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With STEPGRAPH_ERROR_TEXTS=hidden a line has the type, the node and the thread; the caller gets the text."""
    monkeypatch.setenv("STEPGRAPH_ERROR_TEXTS", "hidden")
    graph = fragile(failures=1)
    client, config = stage.use(graph), stage.thread()
    with configured("json"):
        async with stage.serving(graph):
            with pytest.raises(ConnectionError, match="no route"):
                await client.ainvoke({"query": "x"}, config)
            await client.ainvoke(None, config)
    logged = capsys.readouterr().err
    errors = {record["event"]: record["error"] for record in records_in(logged) if "error" in record}
    assert errors == {"node failed": "ConnectionError", "run failed": "NodeError: ConnectionError at node 'reply'"}
    assert "no route" not in logged


def test_a_traceback_is_hidden_with_the_texts_of_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback ends with its error's text, so only the type is logged, for other libraries, too."""
    monkeypatch.setenv("STEPGRAPH_ERROR_TEXTS", "hidden")
    with configured("json"):
        for log in (get_logger("worker"), logging.getLogger("temporalio.worker")):
            try:
                raise ConnectionError("no route")
            except ConnectionError:
                log.exception("lost")
        get_logger("worker").info("odd", error="no type at all")
    logged = capsys.readouterr().err
    assert [record["error"] for record in records_in(logged)] == ["ConnectionError", "ConnectionError", "(hidden)"]
    assert "no route" not in logged


async def test_a_replay_logs_nothing(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """The replayed runs are one that failed and one that finished."""
    caplog.set_level(logging.INFO, "stepgraph")
    graph = fragile(failures=1)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ConnectionError):
            await client.ainvoke({"query": "x"}, config)
        await client.ainvoke(None, config)
    events = [record.getMessage().partition(" graph=")[0] for record in caplog.records if "workflow" in record.name]
    assert events == ["run failed", "super-step done", "graph has finished"]
    caplog.clear()
    assert await stage.replay() == 2
    async with stage.serving(graph):  # a new worker answers a query by replaying, too
        assert len([each async for each in client.aget_state_history(config)]) == 3
    replays = replayer(stage.client, [graph])
    for run in await stage.runs(config["configurable"]["thread_id"]):
        await replays.replay_workflow(await stage.history(run))
    assert [record.getMessage() for record in caplog.records if record.name.startswith("stepgraph.")] == []


async def test_the_log_record_of_a_refused_run_has_its_keys(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """The keys are there although the worker has no such graph."""
    graph = fragile()
    stage.use(graph)
    config = stage.thread()
    thread_id = config["configurable"]["thread_id"]
    with configured("json"):
        async with stage.serving(graph):
            run = await stage.client.start_workflow("fragle", id=thread_id, task_queue=stage.task_queue)
            with pytest.raises(WorkflowFailureError):
                await run.result()
    (record,) = [each for each in records_in(capsys.readouterr().err) if each["logger"] == "stepgraph.workflow"]
    assert (record["graph"], record["thread"], record["run"]) == ("fragle", thread_id, run.first_execution_run_id)
    assert "Did you mean 'fragile'?" in record["error"]
