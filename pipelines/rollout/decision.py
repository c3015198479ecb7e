"""The five actions that may follow the judgement of a rollout's stage, the same for every strategy."""

from __future__ import annotations

from typing import Literal

from pipelines.verdict import Decision

StageAction = Literal["go_on", "look_again", "roll_back", "hold", "refuse"]
"""``go_on``: the next task begins. ``look_again``: the stage continues. ``roll_back``: the champion gets all traffic.
``hold``: the traffic stays until a person decides. ``refuse``: the task fails, and the run's last task rolls back."""
StageDecision = Decision[StageAction]
