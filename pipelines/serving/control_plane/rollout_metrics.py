"""Prometheus text about each model's traffic, its way back, and its newest rollout."""

from __future__ import annotations

from pipelines.rollout.transitions import FULL_SHARE, RoutingTable
from pipelines.serving.control_plane.counts import RolloutCounts
from pipelines.serving.ipc.metrics import format_labels, metric_head


def rollout_lines(table: RoutingTable, counts: RolloutCounts) -> str:
    """Gauges of the newest rollout of every model; counts since its current stage began."""
    gauges: dict[str, list[str]] = {name: [] for name in HELP}
    for model, route in table.routes.items():
        for version, share in (route.split or {route.live.version: FULL_SHARE}).items():
            gauges["airworthy_traffic_basis_points"].append(f"{format_labels(model=model, version=version)} {share}")
        gauges["airworthy_way_back"].append(f"{format_labels(model=model)} {int(route.previous is not None)}")
        record = route.rollout
        if record is None:
            continue
        gauges["airworthy_rollout_phase"].append(f"{format_labels(model=model, phase=record.phase)} 1")
        gauges["airworthy_rollout_step"].append(f"{format_labels(model=model)} {record.step}")
        for (version, role), tally in sorted(counts.stage_tallies(model, record.rollout_id, record.step).items()):
            arm = {"model": model, "version": version, "role": role}
            gauges["airworthy_arm_requests"].append(f"{format_labels(**arm)} {tally.requests}")
            for kind, count in sorted(tally.bad.items()):
                gauges["airworthy_arm_bad_events"].append(f"{format_labels(**arm, kind=kind)} {count}")
            gauges["airworthy_arm_fallbacks"].append(f"{format_labels(**arm)} {tally.fallback}")
            if role == "shadow":
                offered = tally.sent + tally.dropped
                shadow = format_labels(model=model, version=version)
                gauges["airworthy_shadow_sent"].append(f"{shadow} {tally.sent}")
                gauges["airworthy_shadow_dropped"].append(f"{shadow} {tally.dropped}")
                gauges["airworthy_shadow_disagreements"].append(f"{shadow} {tally.disagreed}")
                gauges["airworthy_shadow_flips"].append(f"{shadow} {tally.flipped}")
                gauges["airworthy_shadow_coverage"].append(f"{shadow} {tally.requests / offered if offered else 1:.4f}")
    lines = []
    for name, values in gauges.items():
        if values:
            lines += [*metric_head(name, "gauge", HELP[name]), *(f"{name}{value}" for value in values)]
    return "".join(f"{line}\n" for line in lines)


HELP = {
    "airworthy_traffic_basis_points": "Share of the traffic, 10000 is all.",
    "airworthy_way_back": "1 if a former version is loaded, to which a rollback goes within a second.",
    "airworthy_rollout_phase": "1 for the phase of the newest rollout.",
    "airworthy_rollout_step": "Step of the newest rollout.",
    "airworthy_arm_requests": "Requests sent to a version since the step began.",
    "airworthy_arm_bad_events": "Bad events of a version since the step began.",
    "airworthy_arm_fallbacks": "Requests of an arm that the champion answered instead, since the step began.",
    "airworthy_shadow_sent": "Requests handed to the shadow worker since the step began.",
    "airworthy_shadow_dropped": "Sampled requests that did not fit into the queue to the shadow worker.",
    "airworthy_shadow_disagreements": "Rows whose mirrored answer differs by more than the tolerance.",
    "airworthy_shadow_flips": "Rows that the mirrored version puts on the other side of the threshold.",
    "airworthy_shadow_coverage": "Share of the sampled requests that the shadow worker has handled.",
}
