"""What may be done with a stage of a rollout once it was judged; every strategy has the same five actions."""

from __future__ import annotations

from typing import Literal

from pipelines.verdict import Decision

StageAction = Literal["go_on", "look_again", "roll_back", "hold", "refuse"]
"""``go_on``: the next task begins. ``look_again``: the stage lasts. ``roll_back``: the champion gets all traffic.
``hold``: the traffic stays until a person decides. ``refuse``: the task fails, and the end of the run takes it back."""
StageDecision = Decision[StageAction]
