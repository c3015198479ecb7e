"""Ends the message of a deployment's last task with the version that answers now, as the target records it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.errors import AirworthyError, Conflict, Refused
from pipelines.messages.rollout import RolloutTicket
from pipelines.ports import Ports
from pipelines.rollout.next_steps import next_steps_text
from practices._rollouts.rollout import Rollout

log = logging.getLogger(__name__)


def next_steps(ports: Ports, ticket: RolloutTicket) -> list[str]:
    """Who answers now, and what can be done; nothing while the target does not say it."""
    try:
        target = ports.target(ticket.model)
        state = target.rollout(ticket.model) if target.state(ticket.model).version is not None else None
    except AirworthyError as error:
        log.warning("which version answers now is not known: %s", error)
        return []
    return [next_steps_text(ticket, state)]


@contextmanager
def named_next_steps(rollout: Rollout) -> Iterator[None]:
    """What the target refuses ends with the version that answers now, too."""
    try:
        yield
    except Conflict:
        raise
    except Refused as error:
        steps = [step for step in next_steps(rollout.ports, rollout.ticket) if step not in error.reasons]
        raise Refused(error.subject, [*error.reasons, *steps]) from error
