"""The programs that have once shown a fault."""

from __future__ import annotations

import pytest

from tests.attack.found import FOUND, Found
from tests.attack.oracle import Oracle


@pytest.mark.parametrize("found", FOUND, ids=lambda found: found.what)
async def test_a_fault_that_was_found_is_not_there(oracle: Oracle, found: Found) -> None:
    """What was found once is never there again."""
    await oracle.judge(found.program)
