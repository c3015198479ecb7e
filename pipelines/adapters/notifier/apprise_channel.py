"""Channels that apprise reaches: Slack, PagerDuty, e-mail and webhooks, over TLS that is verified."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from pipelines.adapters.connection import ConnectionFields
from pipelines.errors import Refused, Unavailable
from pipelines.messages.incident import Notice

CONNECT_SECONDS, READ_SECONDS = 10, 20
NEEDED: Mapping[str, tuple[str, ...]] = {
    "slack": ("password",),
    "pagerduty": ("password",),
    "email": ("host", "from", "to"),
    "webhook": ("host",),
}
"""What a connection needs for each kind; ``from`` and ``to`` are in its extra."""


class ChannelAddress(ConnectionFields):
    """Where a channel is and how one logs in, as an Airflow connection has it.

    ``slack``: the password is the path of its webhook, ``T…/B…/…``. ``pagerduty``: the password is the integration key.
    ``email``: host, port, login and password of the mail server, extra ``from``, ``to`` (with commas), ``mode``
    (``starttls`` or ``ssl``). ``webhook``: host, port, schema (``https``), login, password, extra ``path``.
    """

    def faults(self, kind: str) -> list[str]:
        """What the connection lacks for this kind of channel."""
        named = {"host": self.host, "password": self.password.get_secret_value(), **self.extra}
        return [f"it has no {field}" for field in NEEDED[kind] if not named.get(field)]


class AppriseNotifier:
    """Sends by apprise. No secret is in a message of an error or in the log."""

    def __init__(self, kind: str, address: ChannelAddress) -> None:
        self._kind, self._address = kind, address

    def send(self, notice: Notice) -> None:
        """``Refused`` for a connection that lacks something, ``Unavailable`` when the service took no message."""
        if faults := self._address.faults(self._kind):
            raise Refused(f"connection {self._address.connection!r} cannot reach {self._kind}", faults)
        import apprise  # here: 0.3 s, which only a message is worth

        logging.getLogger("apprise").setLevel(logging.CRITICAL)  # its warnings may name an address with its secrets
        is_over = all(event == "resolved" for event in notice.events)
        types = {"info": apprise.NotifyType.INFO, "warning": apprise.NotifyType.WARNING}
        sender = apprise.Apprise()
        if not sender.add(self._url(notice)):
            raise Refused(f"connection {self._address.connection!r} is no address of {self._kind}; correct it")
        taken = sender.notify(
            title=notice.title,
            body=notice.body,
            notify_type=apprise.NotifyType.SUCCESS
            if is_over
            else types.get(notice.severity, apprise.NotifyType.FAILURE),
            body_format=apprise.NotifyFormat.TEXT,
        )
        if not taken:
            raise Unavailable(f"{self._kind} by connection {self._address.connection!r} took no message")

    def _url(self, notice: Notice) -> str:
        """Apprise's address of the service; what it holds is quoted."""
        address, secret = self._address, self._address.password.get_secret_value()
        options = {"cto": str(CONNECT_SECONDS), "rto": str(READ_SECONDS), "verify": "yes", "overflow": "split"}
        login = f"{_quoted(address.login)}:{_quoted(secret)}@" if address.login else ""
        host = address.host + (f":{address.port}" if address.port else "")
        if self._kind == "slack":
            return f"slack://{'/'.join(_quoted(part) for part in secret.strip('/').split('/'))}/?{urlencode(options)}"
        if self._kind == "pagerduty":
            single = notice.incidents[0].number if len(notice.incidents) == 1 else notice.id
            options |= {"action": "map", "dedup": f"airworthy-{single}", "region": address.extra.get("region", "us")}
            return f"pagerduty://{_quoted(secret)}@{_quoted(secret)}/airworthy/{notice.incidents[0].model}?{urlencode(options)}"
        if self._kind == "email":
            mode = address.extra.get("mode", "starttls")
            options |= {"from": str(address.extra["from"]), "to": str(address.extra["to"]), "mode": mode}
            options |= {"smtp": address.host}
            return f"mailtos://{login}{host}?{urlencode(options)}"
        secure = "json" if address.schema_ == "http" else "jsons"
        path = str(address.extra.get("path", "")).strip("/")
        return f"{secure}://{login}{host}/{path}?{urlencode(options | {':id': notice.id})}"


def _quoted(text: str) -> str:
    return quote(text, safe="")
