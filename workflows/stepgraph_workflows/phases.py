"""The phases of a run: where it is in its life, and what it accepts there.

::

                 run                       nothing due
    OPENING ───────────────> RUNNING ──────────────────────> FINISHED ──> the run ends
       │                      │  ^ ^                            │
       │ hold          wait   │  │ └──── command applied ───────┘
       └────────> HOLDING <───┘  │
                     │  └────────┘ command applied, time-out
                     └──> the run ends, if it was started for an update

    any open phase ── a queued input cancels the nodes ──> STOPPING ── nodes stopped ──> STOPPED ──> the run ends
    OPENING ── a queued input cancels the nodes ──> ABORTING ── opened ──> STOPPING
    RUNNING, HOLDING ──> CONTINUING ──> continue-as-new; back to the phase before if a command came by signal, or if
                                        the outcomes of an unfinished super-step do not fit into the next run
    any phase ── an error, a refusal, Temporal's cancel ──> ENDING ──> the run ends

========== ============== ==== ========= =======================================================================
phase      runs due tasks idle  updates  meaning
========== ============== ==== ========= =======================================================================
OPENING    no             no   retry     `open_thread` or the command that the run was started for is under way
ABORTING   no             no   retry     the same, and an input with ``on_busy="cancel"`` was queued meanwhile
RUNNING    yes            no   accepted  super-steps run
HOLDING    no             yes  accepted  the thread waits for a command: at an interrupt, a breakpoint, after an update
FINISHED   no             yes  accepted  no task is due; the run ends once every caller has its answer
STOPPING   no             no   accepted  running nodes are being cancelled for an input with ``on_busy="cancel"``
STOPPED    no             yes  accepted  they have stopped; the run ends once every caller has its answer
CONTINUING no             no   retry     it continues as new, also within a super-step, once callers have their answers
ENDING     no             no   retry     an error, a refusal or a cancel ends the run; accepted commands are refused
========== ============== ==== ========= =======================================================================

*idle*: `wait_until_idle` answers, and an input begins at once if no other is queued. *retry*: an update is refused with
`UPDATE_NOT_READY` and its client sends it again. Signals are accepted in every phase.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class Phase(Enum):
    """Where a run is in its life. The table in the module's docstring says what each phase accepts."""

    OPENING = "opening"
    ABORTING = "aborting"
    RUNNING = "running"
    HOLDING = "holding"
    FINISHED = "finished"
    STOPPING = "stopping"
    STOPPED = "stopped"
    CONTINUING = "continuing"
    ENDING = "ending"

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs: callers that wait for that are answered, and an input may begin at once."""
        return self in IDLE

    @property
    def accepts_updates(self) -> bool:
        """Whether an update may enter the history."""
        return self not in (Phase.OPENING, Phase.ABORTING, Phase.CONTINUING, Phase.ENDING)

    @property
    def releases_callers(self) -> bool:
        """Whether callers that wait for the thread to be idle get an answer although it is not."""
        return self in (Phase.CONTINUING, Phase.ENDING)

    @property
    def stops_nodes(self) -> bool:
        """Whether a caller has requested that the running nodes are cancelled."""
        return self in (Phase.ABORTING, Phase.STOPPING, Phase.STOPPED)

    def after_cancel_input(self) -> Phase:
        """Return the phase after an input with ``on_busy="cancel"`` was queued.

        A run that is still being opened goes on to refuse updates: a local activity is under way.
        """
        return {Phase.OPENING: Phase.ABORTING, Phase.ABORTING: Phase.ABORTING, Phase.ENDING: Phase.ENDING}.get(
            self, Phase.STOPPING
        )

    def after_opening(self, *, runs: bool) -> Phase:
        """Return the phase of a run that is open and has applied its start command; ``runs`` says whether nodes run."""
        if self is Phase.ABORTING:
            return Phase.STOPPING
        return Phase.RUNNING if runs else Phase.HOLDING

    def after_command(self, *, runs: bool) -> Phase:
        """Return the phase after a command was applied; ``runs`` is false for an update, after which no node runs."""
        if runs:
            return AFTER_COMMAND.get(self, self)
        return Phase.RUNNING if self is Phase.FINISHED else self


IDLE: Final = frozenset({Phase.HOLDING, Phase.FINISHED, Phase.STOPPED})

AFTER_COMMAND: Final[Mapping[Phase, Phase]] = {Phase.HOLDING: Phase.RUNNING, Phase.FINISHED: Phase.RUNNING}
"""Where a fork, a resume or an invoke leads; from any other phase the run stays where it is."""
