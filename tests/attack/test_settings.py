"""Environment variables with any value: a command, a worker and a run say which one is wrong, and none hangs."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepgraph.errors import StepgraphError
from stepgraph.temporal.settings import ENVIRONMENT
from tests.attack.budget import examples
from tests.attack.command_lines import APPS, run_line
from tests.attack.graphs import attacked
from tests.attack.oracle import CALL_SECONDS, Fault, Oracle
from tests.conftest import ROOT, Stage

READ_BY_RUNS = (
    *("STEPGRAPH_INLINE_BYTES", "STEPGRAPH_CONTINUE_AS_NEW_STEPS", "STEPGRAPH_CONTINUE_AS_NEW_BYTES"),
    *("STEPGRAPH_FUSED_STEPS", "STEPGRAPH_FUSED_SECONDS", "STEPGRAPH_STATE_CACHE_BYTES"),
    "STEPGRAPH_MAX_CACHED_WORKFLOWS",
)
"""The settings that a worker reads when it starts, or when a run begins."""

values = st.sampled_from(
    [
        *("0", "1", "0.5", "-1", "-0", "nan", "inf", "-inf", "1e400", "1e308", "9" * 40, "1_000", " 5 ", "٣", "x", " "),
        *(
            "true",
            "none",
            "file:///",
            "file:///proc/x",
            "s3://",
            "http://x",
            "ü",
            "x" * 5000,
            "/dev/null",
            ":",
            "localhost",
        ),
    ]
)
commands = st.sampled_from([("starter.py", "threads"), ("worker.py", "--check", "--graphs", "GRAPHS")])


@examples(15)
@given(
    name=st.sampled_from(sorted({*ENVIRONMENT, "TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"})),
    value=values,
    command=commands,
)
async def test_a_command_says_which_setting_is_wrong(
    oracle: Oracle, tmp_path_factory: pytest.TempPathFactory, name: str, value: str, command: tuple[str, ...]
) -> None:
    """A command ends with a result or with one message."""
    folder = tmp_path_factory.mktemp("home")
    address = oracle.stage.client.service_client.config.target_host
    env = {"TEMPORAL_ADDRESS": address, "STEPGRAPH_HOME": str(folder), name: value}
    script, *words = command
    await run_line(APPS[script], tuple(words), {"GRAPHS": f"{ROOT / 'tests/attack/graphs.py'}:plain"}, env, folder)


@examples(10)
@given(name=st.sampled_from(READ_BY_RUNS), value=values)
async def test_a_run_ends_under_any_setting(oracle: Oracle, name: str, value: str) -> None:
    """A worker refuses the setting when it starts, or its runs end in a result or in an error of stepgraph's."""
    await run_under(oracle, name, value, CALL_SECONDS)


@pytest.mark.parametrize(("name", "value"), [("STEPGRAPH_FUSED_SECONDS", "x"), ("STEPGRAPH_INLINE_BYTES", "inf")])
async def test_a_run_under_a_setting_that_is_no_number_ends(oracle: Oracle, name: str, value: str) -> None:
    """Its worker does not start, or the run fails and says which setting is wrong."""
    await run_under(oracle, name, value, 5)


async def run_under(oracle: Oracle, name: str, value: str, seconds: float) -> None:
    """Run a thread with a worker that has a setting; `Fault` if the run hangs."""
    stage, graph = Stage(oracle.stage.client), attacked("fused-async")
    client, thread = stage.use(graph), {"configurable": {"thread_id": f"thread-{uuid.uuid4().hex[:12]}"}}
    with pytest.MonkeyPatch.context() as patch, suppress(StepgraphError):
        patch.setenv(name, value)
        async with stage.serving(graph):
            try:
                async with asyncio.timeout(seconds):
                    await client.ainvoke({"do": "go"}, thread)
            except TimeoutError:
                await stage.client.get_workflow_handle(thread["configurable"]["thread_id"]).terminate()
                raise Fault(f"{name}={value!r}: the run does not end, and its caller learns nothing") from None
