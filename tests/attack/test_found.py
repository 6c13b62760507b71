"""The programs that have once shown a fault."""

from __future__ import annotations

import pytest

from tests.attack.known_faults import FAULTS, FOUND, Found
from tests.attack.oracle import Fault, Oracle

SHORT_SECONDS = 3.0
"""How long a call may take that is known to hang. On a busy machine a call that does not hang may take longer: its test
is expected to fail anyway."""


def _with_mark(found: Found) -> object:
    marks = [pytest.mark.xfail(raises=Fault, strict=True, reason=FAULTS[found.fault])] if found.fault else []
    return pytest.param(found, marks=marks, id=found.what)


@pytest.mark.parametrize("found", [_with_mark(found) for found in FOUND])
async def test_a_fault_that_was_found_is_not_there(
    oracle: Oracle, found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found once is never there again."""
    if found.fault:
        monkeypatch.setattr(oracle, "seconds", SHORT_SECONDS)
        monkeypatch.setattr("tests.attack.oracle.TELL_SECONDS", SHORT_SECONDS)
    await oracle.judge(found.program)
