"""Each change of an endpoint is recorded, requested from SageMaker, awaited and recorded as done; retries resume it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from pipelines.adapters.sagemaker.clients import AwsClients, WriteConflict
from pipelines.adapters.sagemaker.endpoint import (
    WAIT_SECONDS,
    EndpointDescription,
    ProductionVariant,
    SageMakerEndpoint,
)
from pipelines.adapters.sagemaker.guardrail import guarded_config, immediate_config, longest_update_seconds
from pipelines.adapters.sagemaker.record import (
    ChangeIntent,
    EndpointRecord,
    EndpointRecords,
    StoredAnswer,
    parse_s3_store,
)
from pipelines.errors import AirworthyError, Conflict, Refused, Unavailable
from pipelines.messages.rollout import RolloutState
from pipelines.rollout import transitions
from pipelines.rollout.state import make_rollout_state
from pipelines.rollout.transitions import FULL_SHARE, Route
from pipelines.spec.deployment import Deployment, SageMaker

MAX_WRITE_CONFLICTS = 20
"""Write conflicts after which a change raises ``Unavailable``."""
ROLLBACK_ACTIONS = ("roll_back", "rollback")
GUARDRAIL_VARIANT_NAME = "live"
"""SageMaker shifts traffic between fleets of one variant, so its name never changes."""
Transition = Callable[[Route | None], Route]


class WriteConflictAfterUpdate(WriteConflict):
    """Another writer changed the record after SageMaker had accepted a change based on the former record."""


class EndpointChanges:
    """The record of one model on S3, and the endpoint that it describes.

    ``EndpointRecord.route`` is the last state observed, ``EndpointRecord.intent`` a change that was decided. An intent
    is written before SageMaker is called, and becomes the route once the endpoint is in service with the configuration
    and weights that were requested. An endpoint in service with its former configuration was rolled back by SageMaker
    itself: this is recorded as a rollback and refused, never counted as success.
    """

    def __init__(
        self,
        model: str,
        deployment: Deployment,
        clients: AwsClients,
        store: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        assert isinstance(deployment.target, SageMaker)
        self.now, self.guarded = now, deployment.target.mode == "guardrail"
        self.endpoint = SageMakerEndpoint(model, deployment, clients, store, sleep=sleep)
        self.model, self._deployment, self.cloudwatch = model, deployment, clients.cloudwatch
        self._records = EndpointRecords(clients.s3, *parse_s3_store(store))

    def read_record(self) -> EndpointRecord:
        return self._records.read(self.model)[0]

    def observe(self) -> tuple[EndpointRecord, EndpointDescription | None]:
        """The record and the endpoint.

        Records a rollback that SageMaker made by itself, and finishes a change whose worker died before it had set the
        weights or written the record.
        """
        record, etag = self._records.read(self.model)
        current = self.endpoint.describe()
        if record.intent is None or current is None or current.status != "InService":
            return record, current
        if _rolled_back_by_sagemaker(record, current):
            with suppress(WriteConflict):
                self._record_failure(record, etag, _rollback_reason(record, current))
        elif self.endpoint.serves(self.variants_of(record.intent.route), current):
            with suppress(WriteConflict, AirworthyError):
                self._apply_intent(record, etag)
        return self.read_record(), self.endpoint.describe()

    def change(
        self, action: str, request: Mapping[str, Any], edit: Transition, expect: int | None, key: str
    ) -> dict[str, Any]:
        """The state after the change, as first answered under ``key``; without ``expect`` it replaces a pending one."""
        digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        for _ in range(MAX_WRITE_CONFLICTS):
            record, etag = self._records.read(self.model)
            stored = record.answers.get(key)
            if stored is not None and stored.request != digest:
                raise Refused(f"idempotency key {key!r} was used for another request; take a new key")
            if stored is not None:
                return stored.answer
            try:
                if record.intent is not None and (expect is not None or record.intent.key == key):
                    answer = self._apply_intent(record, etag)
                    if record.intent.key == key:
                        return answer
                    continue
                if expect is not None and expect != record.generation:
                    raise Conflict(f"{self.model} is at generation {record.generation}, not {expect}")
                record = msgspec.structs.replace(record, intent=ChangeIntent(key, digest, action, edit(record.route)))
                if self._changes_record_only(record):
                    return self._record_route(record, etag, self.endpoint.describe())
                return self._apply_intent(record, self._records.write(record, etag))
            except WriteConflictAfterUpdate:
                self._restore_recorded_route()
            except WriteConflict:
                continue
        raise Unavailable(f"{self.model} met {MAX_WRITE_CONFLICTS} write conflicts in a row; try again")

    def renew_lease(self, edit: Callable[[Route], Route], expect: int) -> RolloutState:
        """Renew the lease without waiting for SageMaker or for a pending change."""
        for _ in range(MAX_WRITE_CONFLICTS):
            record, etag = self._records.read(self.model)
            if expect != record.generation:
                raise Conflict(f"{self.model} is at generation {record.generation}, not {expect}")
            route, intent = edit(transitions.require_live(self.model, record.route)), record.intent
            if intent is not None and intent.route.rollout is not None and intent.route.rollout.active:
                intent = msgspec.structs.replace(intent, route=edit(intent.route))
            record = msgspec.structs.replace(record, route=route, intent=intent)
            with suppress(WriteConflict):
                self._records.write(record, etag)
                return self.state(record, self.endpoint.describe())
        raise Unavailable(f"{self.model} met {MAX_WRITE_CONFLICTS} write conflicts in a row; try again")

    def _changes_record_only(self, record: EndpointRecord) -> bool:
        """Whether the intent changes nothing at SageMaker, so that it can be recorded without waiting."""
        intent = record.intent
        if record.route is None or intent is None or intent.action in ("prepare", *ROLLBACK_ACTIONS):
            return False
        return self.variants_of(intent.route) == self.variants_of(record.route)

    # ---- request, observe, record -----------------------------------------------------------------------------------

    def _apply_intent(self, record: EndpointRecord, etag: str | None) -> dict[str, Any]:
        """Apply the intent and return the new state. Raises ``WriteConflict`` if another caller changed the record."""
        intent = record.intent
        assert intent is not None
        variants = self.variants_of(intent.route)
        try:
            current = self._wait_for_idle_endpoint(variants, intent)
            if not intent.begun and not self.endpoint.serves(variants, current):
                record, etag, current = self._reconfigure(record, etag, variants, current)
            self._check_applied(record, current, variants)
        except Refused as error:
            if intent.action not in ROLLBACK_ACTIONS and not isinstance(error, Conflict):
                self._record_failure(record, etag, "; ".join([error.subject, *error.reasons]))
            raise
        if not self.endpoint.has_shares(variants, current):
            self.endpoint.set_weights(variants, current)
            current = self.endpoint.wait()
        if not self.endpoint.has_shares(variants, current):
            raise Unavailable(
                f"endpoint {self.endpoint.name} splits traffic {current.shares}, not as requested; try again"
            )
        former, route = record.route, intent.route
        if former is None or (route.live, route.candidate) != (former.live, former.candidate):
            self.endpoint.declare_autoscaling(variants)
        answer = self._record_route(record, etag, current)
        self.endpoint.remove_other_variants(variants, current)
        return answer

    def _wait_for_idle_endpoint(self, variants: list[ProductionVariant], intent: ChangeIntent) -> EndpointDescription:
        """The endpoint, created if it does not exist, once SageMaker has finished its pending change."""
        if self.guarded and intent.route.candidate is not None:
            self.endpoint.ensure_model(intent.route.candidate)
        if self.endpoint.describe() is None:
            self.endpoint.create(variants)
        return self.endpoint.wait(self._max_update_seconds() if intent.begun else WAIT_SECONDS)

    def _reconfigure(
        self, record: EndpointRecord, etag: str | None, variants: list[ProductionVariant], current: EndpointDescription
    ) -> tuple[EndpointRecord, str | None, EndpointDescription]:
        """Request another configuration, record the request, and wait for it."""
        intent = record.intent
        assert intent is not None
        policy = None
        if self.guarded:
            policy = immediate_config() if intent.action in ROLLBACK_ACTIONS else guarded_config(self._deployment)
        config = self.endpoint.ensure_config(variants, current)
        if self._records.read(self.model)[1] != etag:
            raise WriteConflict(self.model)
        self.endpoint.update(config, policy)
        begun = msgspec.structs.replace(intent, begun=True, former=current.config, config=config)
        route = record.route and self._with_lease(record.route, self._max_update_seconds())
        record = msgspec.structs.replace(record, intent=begun, route=route)
        return record, self._write_after_update(record, etag), self.endpoint.wait(self._max_update_seconds())

    def _check_applied(
        self, record: EndpointRecord, current: EndpointDescription, variants: list[ProductionVariant]
    ) -> None:
        """``Refused`` unless the endpoint has the configuration that was requested."""
        intent = record.intent
        assert intent is not None
        if _rolled_back_by_sagemaker(record, current):
            raise Refused(f"the {intent.action} of {self.model} was not applied", [_rollback_reason(record, current)])
        if (intent.begun and current.config != intent.config) or not self.endpoint.serves(variants, current):
            raise Refused(
                f"endpoint {self.endpoint.name} has configuration {current.config}, not the one that was requested",
                ["somebody else changed it; roll back, or release a version, to replace that configuration"],
            )

    def _record_route(
        self, record: EndpointRecord, etag: str | None, current: EndpointDescription | None
    ) -> dict[str, Any]:
        """Record the intent as the route, in the next generation unless the route stays the same."""
        intent, now = record.intent, self.now()
        assert intent is not None
        before, after = record.route, self._with_start_time(record, intent, now)
        rollout, former = after.rollout, before.rollout if before else None
        superseded = dict(record.superseded)
        if former is not None and former.active and rollout is not None and rollout.rollout_id != former.rollout_id:
            why = f"by {rollout.rollout_id}"
            superseded[former.rollout_id] = msgspec.structs.replace(former, phase="SUPERSEDED", reason=why)
        same = before is not None and intent.route == before
        record = msgspec.structs.replace(
            record,
            generation=record.generation + (0 if same else 1),
            route=after,
            intent=None,
            superseded=superseded,
            ended=None if rollout is not None and rollout.can_roll_back else record.ended or now,
        )
        answer = self.state(record, current).model_dump(mode="json", by_alias=True)
        answers = record.answers | {intent.key: StoredAnswer(intent.request, answer)}
        self._write_after_update(msgspec.structs.replace(record, answers=answers), etag)
        return answer

    def _write_after_update(self, record: EndpointRecord, etag: str | None) -> str:
        """Write the record after a request to SageMaker. ``WriteConflictAfterUpdate`` if it was changed meanwhile."""
        try:
            return self._records.write(record, etag)
        except WriteConflict as conflict:
            raise WriteConflictAfterUpdate(self.model) from conflict

    def _record_failure(self, record: EndpointRecord, etag: str | None, reason: str) -> None:
        """Record that the intent failed and its rollout ended. Raises ``WriteConflict`` if the record was changed."""
        intent, route, now = record.intent, record.route, self.now()
        assert intent is not None
        rollout = route.rollout if route else None
        if route is not None and rollout is not None and rollout.active:
            if intent.action == "prepare":
                route = transitions.fail_preparation(route, rollout.rollout_id, reason)
            elif intent.action == "promote":
                route = transitions.roll_back(route, reason)
        runs = route is not None and route.rollout is not None and route.rollout.active
        ended = record.ended if runs else record.ended or now
        after = msgspec.structs.replace(record, generation=record.generation + 1, route=route, intent=None, ended=ended)
        self._records.write(after, etag)

    def _restore_recorded_route(self) -> None:
        """Set the weights and variants of the recorded route again, after our own request came too late."""
        record = self.read_record()
        if record.intent is not None or record.route is None:
            return
        variants, current = self.variants_of(record.route), self.endpoint.wait()
        if not self.endpoint.serves(variants, current):
            return
        if not self.endpoint.has_shares(variants, current):
            self.endpoint.set_weights(variants, current)
            current = self.endpoint.wait()
        self.endpoint.remove_other_variants(variants, current)

    # ---- what a record means ----------------------------------------------------------------------------------------

    def variants_of(self, route: Route) -> list[ProductionVariant]:
        """The variants of a route; a former champion keeps its instances at weight 0 until it is retired."""
        if self.guarded:
            return [ProductionVariant(GUARDRAIL_VARIANT_NAME, route.live, FULL_SHARE)]
        share = route.share()
        variants = [ProductionVariant(variant_name(route.live.version), route.live, FULL_SHARE - share)]
        if route.candidate is not None:
            variants.append(ProductionVariant(variant_name(route.candidate.version), route.candidate, share))
        if route.previous is not None and route.rollout is not None and route.rollout.phase == "FINALISING":
            variants.append(ProductionVariant(variant_name(route.previous.version), route.previous, 0))
        return variants

    def state(self, record: EndpointRecord, current: EndpointDescription | None) -> RolloutState:
        """Roles and phase as recorded; the split, and whether it is the recorded one, as SageMaker describes them.

        A pending intent is not included: a caller that reads the former state repeats its change, and waits.
        """
        route = transitions.require_live(self.model, record.route)
        variants = self.variants_of(route)
        split: dict[str, int] = {}
        applied = False
        if current is not None:
            applied = self.endpoint.serves(variants, current) and self.endpoint.has_shares(variants, current)
            versions = {variant.name: variant.served.version for variant in variants}
            split = {versions.get(name, name): share for name, share in current.shares.items() if share}
        if applied:
            split = {variant.served.version: variant.share for variant in variants if variant.share}
        workers = sum(current.instances.values()) if current else 0
        return make_rollout_state(
            self.model, route, split, generation=record.generation, workers=workers, applied=applied
        )

    def _with_start_time(self, record: EndpointRecord, intent: ChangeIntent, now: datetime) -> Route:
        """The route whose newest stage, and its lease, start now, when its traffic was observed."""
        after, rollout = intent.route, intent.route.rollout
        former = record.route.rollout if record.route else None
        if rollout is None or not rollout.can_roll_back or not rollout.steps:
            return after
        if former and rollout.steps == former.steps:
            return after
        last = msgspec.structs.replace(rollout.steps[-1], started=now)
        rollout = msgspec.structs.replace(rollout, step_started=now, steps=(*rollout.steps[:-1], last))
        return self._with_lease(msgspec.structs.replace(after, rollout=rollout))

    def _with_lease(self, route: Route, seconds: float = 0.0) -> Route:
        """The route with a lease that outlasts the wait for SageMaker."""
        rollout = route.rollout
        if rollout is None or not rollout.active:
            return route
        until = max(rollout.lease_until, self.now() + timedelta(seconds=rollout.plan.lease_seconds + seconds))
        return msgspec.structs.replace(route, rollout=msgspec.structs.replace(rollout, lease_until=until))

    def _max_update_seconds(self) -> float:
        return longest_update_seconds(self._deployment) if self.guarded else WAIT_SECONDS


def variant_name(version: str) -> str:
    """Name of the variant that serves a version, in mode ``variants``."""
    return "v" + "".join(letter if letter.isalnum() else "-" for letter in version).strip("-")[:60]


def _rolled_back_by_sagemaker(record: EndpointRecord, current: EndpointDescription | None) -> bool:
    """Whether SageMaker rolled the requested configuration back by itself: it is in service with the former one."""
    intent = record.intent
    if intent is None or not intent.begun or current is None or current.status != "InService":
        return False
    return current.config == intent.former and current.config != intent.config


def _rollback_reason(record: EndpointRecord, current: EndpointDescription | None) -> str:
    config, former = (record.intent.config, record.intent.former) if record.intent else ("", "")
    cause = f": {current.failure}" if current and current.failure else "; read its alarms and the container's log"
    return f"SageMaker replaced {config} by the former {former}{cause}"
