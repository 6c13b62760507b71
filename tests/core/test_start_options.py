"""Tests of start options, query requests and Temporal names: what a client and a workflow send each other."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from stepgraph.engine.thread_view import DEFAULT_RECURSION_LIMIT
from stepgraph.protocol.names import activity_type, task_queue_of
from stepgraph.protocol.queries import HistoryRequest, StateRequest
from stepgraph.protocol.start_options import ContinuedRun, StartOptions
from tests.core.test_records import make_record


def test_a_run_started_by_hand_needs_no_options() -> None:
    """Every start option has a default, and an option at its default is left out of the JSON; the version is not."""
    assert StartOptions().to_json() == {"v": 1}
    assert StartOptions.model_validate({}) == StartOptions()
    assert StartOptions().recursion_limit == DEFAULT_RECURSION_LIMIT
    assert StateRequest().to_json() == {"v": 1}
    assert HistoryRequest(limit=3, filter={"step": 0}).to_json() == {"v": 1, "limit": 3, "filter": {"step": 0}}


def test_start_options_survive_a_round_trip_through_json() -> None:
    """Start options read from JSON equal the original, with a continued run's record. Unknown fields are an error."""
    continued = ContinuedRun(record=make_record(), steps_left=0)
    options = StartOptions(after="r1", caller="c", recursion_limit=7, config={"tags": []}, continued=continued)
    data = json.loads(json.dumps(options.to_json()))
    assert StartOptions.model_validate(data) == options
    with pytest.raises(ValidationError, match="added_later"):
        StartOptions.model_validate({**data, "added_later": 1})
    assert data["continued"]["steps_left"] == 0
    assert "omitted" not in data["continued"]["record"]


def test_activity_types_and_task_queues_contain_the_graph_name() -> None:
    """Activity types and task queues, which the Web UI shows, contain the graph's name."""
    assert activity_type("research", "analyze") == "research.analyze"
    assert task_queue_of("research") == "stepgraph.research"
