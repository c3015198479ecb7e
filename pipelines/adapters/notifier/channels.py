"""Opens the adapter of a declared channel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipelines.adapters.connection import ConnectionFields
from pipelines.adapters.notifier.apprise_channel import AppriseNotifier, ChannelAddress
from pipelines.adapters.notifier.file import FileNotifier, alerts_file
from pipelines.errors import Refused
from pipelines.ports import Notifier
from pipelines.spec.alerts import Channel


def open_notifier(channel: Channel, home: Path, connections: Callable[[str], ConnectionFields] | None) -> Notifier:
    """``connections`` reads the connection of a channel; None: this process knows no connections."""
    if channel.kind == "file":
        return FileNotifier(alerts_file(home))
    if channel.kind == "alertmanager":
        from pipelines.adapters.notifier.alertmanager import AlertmanagerNotifier

        return AlertmanagerNotifier(str(channel.url))
    if connections is None:
        raise Refused(f"connection {channel.connection!r} can be read by Airflow's processes alone")
    address = ChannelAddress.model_validate(connections(str(channel.connection)).model_dump())
    return AppriseNotifier(channel.kind, address)
