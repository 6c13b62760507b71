"""How many random programs each attack runs.

In the test suite a few, the same ones in every run. With ``ATTACK=500`` in the environment, as many for each kind, new
ones in every run, and what fails is made small.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

EXAMPLES = int(os.environ.get("ATTACK") or 0)


def examples(in_suite: int) -> settings:
    """Return settings for some programs, ``in_suite`` of them in the test suite."""
    return settings(
        max_examples=EXAMPLES or in_suite,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if EXAMPLES else [])],
        suppress_health_check=list(HealthCheck),
        print_blob=bool(EXAMPLES),
    )
