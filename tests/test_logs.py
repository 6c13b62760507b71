"""What stepgraph logs: to whom, in which form, and that a replay says nothing twice."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypedDict

import pytest
from temporalio import activity, workflow
from temporalio.client import WorkflowFailureError
from temporalio.common import RetryPolicy as TemporalRetryPolicy
from temporalio.worker import Replayer

from stepgraph import END, START, GraphPlugin, StateGraph
from stepgraph.errors import StepgraphError
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.temporal import logs
from stepgraph.temporal.logs import configure_logging, get_logger
from tests.conftest import ROOT, Stage


@contextmanager
def configured(format: str | None = None, level: str | None = None) -> Iterator[None]:
    """Logging as `configure_logging` sets it; afterwards it is as it was, and pytest's own is none the worse for it."""
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
        logs._configured = False


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of whoever runs the tests do not count."""
    for name in ("STEPGRAPH_LOG_FORMAT", "STEPGRAPH_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)


class State(TypedDict):
    query: str
    answer: str


def fragile(failures: int = 0) -> CompiledGraph:
    """One node, which fails some times first."""
    calls: list[str] = []

    def reply(state: State) -> dict[str, str]:
        calls.append("reply")
        if len(calls) <= failures:
            raise ConnectionError("no route")
        return {"answer": state["query"].upper()}

    builder = StateGraph(State).add_node(reply)
    return builder.add_edge(START, "reply").add_edge("reply", END).compile(name="fragile")


def lines(captured: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in captured.splitlines()]


# Forms


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With the event, when, how grave, which logger, and every key as it was bound; text stays readable."""
    with configured("json"):
        log = get_logger("worker").bind(graph="research", step=3)
        log.info("node starts", node="Zürich", seen={"a": [1, None]})
        log.warning("odd", what=object)
    out, err = capsys.readouterr()
    first, second = lines(err)
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


def test_console_is_a_line_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Level, event and keys; no colours where there is no terminal."""
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
    """In JSON as text under ``exception``, on the console below the line."""
    with configured(format):
        try:
            raise ConnectionError("no route")
        except ConnectionError:
            get_logger("worker").exception("lost")
    _, err = capsys.readouterr()
    if format == "json":
        (record,) = lines(err)
        assert "ConnectionError: no route" in record["exception"]
        assert record["level"] == "error"
    else:
        assert "lost" in err
        assert "ConnectionError: no route" in err


def test_logs_of_other_libraries_come_in_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    """Temporal's SDK, say: one stream, one form."""
    with configured("json"):
        logging.getLogger("temporalio.worker").info("polling %s", "here")
    (record,) = lines(capsys.readouterr().err)
    assert (record["event"], record["logger"], record["level"]) == ("polling here", "temporalio.worker", "info")


def test_the_settings_choose_form_and_level(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`STEPGRAPH_LOG_FORMAT` and `STEPGRAPH_LOG_LEVEL`, in any case; without them JSON where there is no terminal."""
    log = get_logger("worker")
    with configured():
        log.debug("too fine")
        log.info("as ever")
    monkeypatch.setenv("STEPGRAPH_LOG_LEVEL", "Warning")
    with configured():
        log.info("too low")
        log.warning("grave")
    assert [record["event"] for record in lines(capsys.readouterr().err)] == ["as ever", "grave"]
    monkeypatch.setenv("STEPGRAPH_LOG_FORMAT", "console")
    with configured(level="debug"):
        log.debug("fine")
    assert "[debug" in capsys.readouterr().err


def test_a_setting_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variable, what it takes and what it got; logging stays as it was."""
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


def test_a_worker_with_a_setting_that_cannot_be_says_so() -> None:
    """One line and an exit status, before it looks for a server."""
    told = subprocess.run(
        [sys.executable, "worker.py", "--graphs", "examples.research:graph"],
        cwd=ROOT,
        env={**os.environ, "STEPGRAPH_LOG_LEVEL": "loud"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert told.returncode != 0
    assert "STEPGRAPH_LOG_LEVEL must be debug, info, warning or error; got 'loud'" in told.stderr
    assert "Traceback" not in told.stderr


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


def test_a_program_that_configures_nothing_sees_warnings_as_plain_lines() -> None:
    """Nothing below, no colours, no dicts: the event and its keys; a traceback as Python prints it."""
    told = subprocess.run(
        [sys.executable, "-c", UNCONFIGURED], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert told.stdout == ""
    first, second, *traceback = told.stderr.splitlines()
    assert first == "three graph='research' node='a b' step=3"
    assert second == "four graph='research'"
    assert traceback[0] == "Traceback (most recent call last):"
    assert traceback[-1] == "ConnectionError: no route"


def test_a_program_with_logging_of_its_own_gets_the_events(caplog: pytest.LogCaptureFixture) -> None:
    """On the loggers ``stepgraph.*``, as text with its keys; a percent sign is just that."""
    caplog.set_level(logging.INFO, "stepgraph")
    get_logger("worker").info("100%s done", step=3)
    assert caplog.record_tuples == [("stepgraph.worker", logging.INFO, "100%s done step=3")]


async def test_a_failing_node_is_one_line_at_warning(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """It says which node of which thread, and where it is kept; the SDK does not say it again with a traceback."""
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
    for told in (f"thread={thread_id!r}", "step=2", "node='reply'", "error='ConnectionError: no route'"):
        assert told in record.getMessage()
    assert f"checkpoint_id={caught.value.checkpoint_id!r}" in record.getMessage()


@activity.defn
async def fail() -> None:
    """Someone's own activity, which has a fault."""
    raise RuntimeError("my own fault")


@workflow.defn(sandboxed=False)
class Own:
    """Someone's own workflow."""

    @workflow.run
    async def run(self) -> None:
        """Runs the activity once."""
        from datetime import timedelta

        await workflow.execute_activity(
            fail, start_to_close_timeout=timedelta(seconds=5), retry_policy=TemporalRetryPolicy(maximum_attempts=1)
        )


async def test_the_sdk_still_reports_activities_that_are_no_nodes(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """A graph on someone's worker takes nothing away from the logs of their own activities."""
    graph = fragile()
    stage.use(graph)
    async with stage.serving(graph, workflows=[Own], activities=[fail]):
        with pytest.raises(WorkflowFailureError):
            await stage.client.execute_workflow(Own.run, id=f"own-{stage.task_queue}", task_queue=stage.task_queue)
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.name == "temporalio.activity"
    assert record.getMessage().startswith("Completing activity as failed")
    assert "my own fault" in caplog.text


# What a run says


async def test_a_run_is_told_with_its_keys(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """Graph, thread, run, step, node and checkpoint id, wherever they are known; so a thread's life can be filtered."""
    graph = fragile(failures=1)
    client, config = stage.use(graph), stage.thread()
    with configured("json"):
        async with stage.serving(graph):
            with pytest.raises(ConnectionError):
                await client.ainvoke({"query": "x"}, config)
            await client.ainvoke(None, config)
    thread_id = config["configurable"]["thread_id"]
    told = [record for record in lines(capsys.readouterr().err) if record["logger"].startswith("stepgraph.")]
    assert [(record["logger"], record["event"]) for record in told] == [
        ("stepgraph.node", "node starts"),
        ("stepgraph.node", "node failed"),
        ("stepgraph.workflow", "run failed"),
        ("stepgraph.node", "node starts"),
        ("stepgraph.node", "node done"),
        ("stepgraph.workflow", "super-step done"),
        ("stepgraph.workflow", "graph is done"),
    ]
    assert {(record["graph"], record["thread"]) for record in told} == {("fragile", thread_id)}
    second, first = await stage.runs(thread_id)
    assert [record["run"] for record in told] == [first.run_id] * 3 + [second.run_id] * 4
    assert {record["step"] for record in told if "step" in record} == {2}
    assert {record["node"] for record in told if "node" in record} == {"reply"}
    head = (await client.aget_state(config)).checkpoint_id
    failed = f"{first.run_id}.000002"
    assert [record.get("checkpoint_id") for record in told] == [failed] * 5 + [head, None]


async def test_a_replay_says_nothing_again(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Neither of a run that failed nor of one that finished."""
    caplog.set_level(logging.INFO, "stepgraph")
    graph = fragile(failures=1)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ConnectionError):
            await client.ainvoke({"query": "x"}, config)
        await client.ainvoke(None, config)
    said = [record.getMessage().partition(" graph=")[0] for record in caplog.records if "workflow" in record.name]
    assert said == ["run failed", "super-step done", "graph is done"]
    caplog.clear()
    assert await stage.replay() == 2
    async with stage.serving(graph):  # a fresh worker answers a query by replaying, too
        assert len([shown async for shown in client.aget_state_history(config)]) == 3
    replayer = Replayer(workflows=[], plugins=[GraphPlugin([graph])])
    for run in await stage.runs(config["configurable"]["thread_id"]):
        await replayer.replay_workflow(await stage.history(run))
    assert [record.getMessage() for record in caplog.records if record.name.startswith("stepgraph.")] == []


async def test_a_run_that_is_refused_is_told_with_its_thread(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """Also one that never got as far as a graph."""
    graph = fragile()
    stage.use(graph)
    config = stage.thread()
    thread_id = config["configurable"]["thread_id"]
    with configured("json"):
        async with stage.serving(graph):
            run = await stage.client.start_workflow("fragle", id=thread_id, task_queue=stage.task_queue)
            with pytest.raises(WorkflowFailureError):
                await run.result()
    (record,) = [record for record in lines(capsys.readouterr().err) if record["logger"] == "stepgraph.workflow"]
    assert (record["graph"], record["thread"], record["run"]) == ("fragle", thread_id, run.first_execution_run_id)
    assert "Did you mean 'fragile'?" in record["error"]
