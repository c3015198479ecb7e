"""Slack, PagerDuty, e-mail and a webhook get the message over TLS that is verified; no secret is in an error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_string
from pathlib import Path
from typing import Any

import pytest

from pipelines.adapters.notifier.apprise_channel import AppriseNotifier, ChannelAddress
from pipelines.errors import Refused, Unavailable
from pipelines.messages.incident import Event, Incident, Notice
from pipelines.rules.incident_text import notice
from pipelines.spec.alerts import AlertsSpec
from tests.adapters.notifier.tls_services import ANSWER, Authority, MailServer, TlsProxy, serving

NOW = datetime(2026, 11, 2, 7, 0, tzinfo=UTC)
SLACK_PATH = "T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
KEY = "k" * 32


def message(event: Event = "opened", what: str = "price broke") -> Notice:
    fields: dict[str, Any] = {"status": "open", "severity": "critical", "what": what, "number": 7}
    times = dict.fromkeys(("first_seen", "opened", "last_seen"), NOW)
    incident = Incident.model_validate({"model": "churn", "kind": "drift_fault", "subject": "price", **fields, **times})
    return notice("chat", 1, [(incident, event)], AlertsSpec(), "https://airflow")


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsProxy]:
    authority = Authority(tmp_path)
    made = TlsProxy(authority)
    with serving(made) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        yield made


def address(**fields: Any) -> ChannelAddress:
    return ChannelAddress(connection="ops", **fields)


def test_slack_gets_title_and_text_at_the_path_of_the_webhook(proxy: TlsProxy) -> None:
    AppriseNotifier("slack", address(password=SLACK_PATH)).send(message())
    [(host, head, body)] = proxy.requests
    assert (host, head.split()[1]) == ("hooks.slack.com", f"/services/{SLACK_PATH}")
    text = json.dumps(json.loads(body))
    assert "[critical] churn: price broke" in text
    assert "airworthy incidents ack 7" in text


def test_what_callers_sent_calls_nobody_and_is_no_link_in_slack(proxy: TlsProxy) -> None:
    AppriseNotifier("slack", address(password=SLACK_PATH)).send(
        message(what="new: <!channel> <https://evil.example|ok>")
    )
    [(_, _, body)] = proxy.requests
    text = json.dumps(json.loads(body))
    assert "evil.example" in text
    assert "<!channel" not in text
    assert "<https://evil.example" not in text


def test_pagerduty_gets_one_incident_that_is_resolved_by_its_key(proxy: TlsProxy) -> None:
    pager = AppriseNotifier("pagerduty", address(password=KEY))
    pager.send(message())
    pager.send(message("resolved"))
    sent = [json.loads(body) for _, _, body in proxy.requests]
    assert [one["event_action"] for one in sent] == ["trigger", "resolve"]
    assert {one["dedup_key"] for one in sent} == {"airworthy-7"}
    assert sent[0]["routing_key"] == KEY
    assert sent[0]["payload"]["severity"] in ("critical", "error")


def test_a_webhook_gets_json_with_its_log_in(proxy: TlsProxy) -> None:
    hook = address(host="hooks.example", login="airworthy", password="p w", extra={"path": "/in/coming"})
    AppriseNotifier("webhook", hook).send(message())
    [(host, head, body)] = proxy.requests
    assert (host, head.split()[1]) == ("hooks.example", "/in/coming")
    assert "Authorization: Basic" in head
    sent = json.loads(body)
    assert (sent["title"], sent["type"], sent["id"]) == ("[critical] churn: price broke", "failure", "chat-1")


def test_a_mail_is_sent_over_starttls_with_a_log_in_to_every_recipient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    server = MailServer(authority)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    with serving(server) as port:
        extra = {"from": "airworthy@example.org", "to": "ops@example.org,lead@example.org"}
        mail = address(host="localhost", port=port, login="airworthy", password="secret", extra=extra)
        AppriseNotifier("email", mail).send(message())
    assert len(server.mails) == 2
    first = message_from_string(server.mails[0])
    assert "price broke" in str(first["Subject"])
    assert server.logins[0].split("\0")[1:] == ["airworthy", "secret"]


def test_an_authority_that_is_not_trusted_gets_no_message(
    proxy: TlsProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(Authority(tmp_path / "other").bundle))
    with pytest.raises(Unavailable, match="took no message") as caught:
        AppriseNotifier("slack", address(password=SLACK_PATH)).send(message())
    assert proxy.requests == []
    assert SLACK_PATH not in str(caught.value)


def test_a_service_that_answers_with_an_error_took_no_message(proxy: TlsProxy) -> None:
    proxy.answer = ANSWER.replace(b"200 OK", b"503 Busy")
    with pytest.raises(Unavailable, match="slack by connection 'ops' took no message"):
        AppriseNotifier("slack", address(password=SLACK_PATH)).send(message())


@pytest.mark.parametrize(
    ("kind", "fields", "faults"),
    [
        ("slack", {}, ["it has no password"]),
        ("pagerduty", {}, ["it has no password"]),
        ("email", {"host": "mail"}, ["it has no from", "it has no to"]),
        ("webhook", {}, ["it has no host"]),
    ],
)
def test_a_connection_that_lacks_something_is_refused_with_all_that_it_lacks(
    kind: str, fields: dict[str, Any], faults: list[str]
) -> None:
    with pytest.raises(Refused) as caught:
        AppriseNotifier(kind, address(**fields)).send(message())
    assert caught.value.reasons == faults
