"""Text that others wrote is shown letter for letter, wherever people read it: forms, cards, DAGs, reports, pages."""

from __future__ import annotations

import string
from collections.abc import Iterator
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from pipelines import store_paths
from pipelines.ledger import markdown
from pipelines.ledger.approval_form import FormFacts, form
from pipelines.ledger.trained_facts import TrainedFacts
from pipelines.messages.incident import Incident
from pipelines.messages.live_inputs import InputMeasure, LiveInputsResult
from pipelines.messages.monitoring import DriftMeasure
from pipelines.messages.rollout import RolloutTicket
from pipelines.ports import VersionInfo
from pipelines.rules.incident_text import full_text, headline
from pipelines.spec.alerts import AlertsSpec
from pipelines.steps.models.model_card import training_card
from pipelines.steps.monitoring.live_inputs_page import write_page
from pipelines.steps.reporting.verdict_section import verdict_section
from pipelines.testing.memory_store import MemoryStore
from pipelines.testing.ports import MemoryLedger
from pipelines.verdict import Outcome, Verdict
from tests.declared import shipped_model

PAYLOADS = [
    "<script>alert(1)</script>",
    "[approve here](javascript:alert(1))",
    "[a]: javascript:alert(1)",
    "![x](https://tracker.example/p.png)",
    "<img src=x onerror=alert(1)>",
    "<https://evil.example>",
    "| slice gate | pass |\n| forged | row |",
    "# Approved by all",
    "`code` **bold** ~~struck~~ _it_",
    "\\[a\\](javascript:alert(1)) \\",
    "]( javascript:alert(1)",
    "&lt;script&gt;&#60;b&#62;",
    "\u202eevorppa",
]
SPEC = shipped_model()
MARKUP = {
    "html_inline",
    "html_block",
    "link_open",
    "image",
    "heading_open",
    "code_inline",
    "em_open",
    "s_open",
    "strong_open",
}
PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def tokens(content: str) -> list[Token]:
    """All tokens of a Markdown text, those within lines among them."""
    return [token for each in PARSER.parse(content) for token in (each, *(each.children or ()))]


def shape(content: str) -> list[tuple[str, Any]]:
    """The markup of a text and where it leads, without its words."""
    return [
        (token.type, token.attrs.get("href") or token.attrs.get("src"))
        for token in tokens(content)
        if token.type != "text"
    ]


def approval_form(payload: str) -> str:
    ledger = MemoryLedger()
    facts = {
        payload: payload,
        "gains": {payload: 0.1},
        "checklist": [{"item": payload, "result": "FAIL", "why": [payload]}],
    }
    for gate in ("slice_gate", "candidate_evaluation"):
        ledger.append(
            "gate", "m", "3", {"gate": gate, "outcome": "fail", "reasons": [payload], "facts": facts}, actor="x"
        )
    tried = ledger.append("rollout", "m", "3", {"outcome": "fail", "reasons": [payload], "facts": facts}, actor="x")
    tags = {"airworthy.hypothesis": payload}
    candidate = VersionInfo(
        model="m", version="3", run_id="r", source="s", semantic=payload, tags=tags, metrics={payload: 0.5}
    )
    declared = {"problem": payload, "target": {"column": payload}, "estimator": {"class_path": payload}}
    trained = TrainedFacts(
        hypothesis=payload, declared=declared, seed=payload, device=payload, git_revision=payload, snapshot=payload
    )
    ticket = RolloutTicket(
        model="m", version="3", rollout_id="r", champion="2", bundle="b", sha256=payload, model_digest=payload
    )
    return form(
        FormFacts(
            ticket=ticket,
            spec=SPEC.model_copy(update={"description": payload, "owner": payload}),
            candidate=candidate,
            champion=candidate.model_copy(update={"version": "2"}),
            lines=ledger.entries(),
            run_verdicts={payload: tried},
            trained=trained,
            live_trained=trained.model_copy(update={"seed": "1"}),
            changes=[payload],
            authors=[payload],
            links={payload: payload, "the run": f"/dags/{payload}"},
        ),
        3600,
    )


def version_card(payload: str) -> str:
    facts = {
        "airworthy.requested_by": payload,
        "airworthy.snapshot": payload,
        "airworthy.hypothesis": payload,
        "airworthy.trigger": payload,
        "airworthy.seed": payload,
        "airworthy.git_revision": payload,
    }
    spec, now = SPEC.model_copy(update={"description": payload, "owner": payload}), datetime(2013, 3, 1, tzinfo=UTC)
    return training_card(spec, facts, {}, rows=1, as_of=now, trained_at=now)


def dag_page(payload: str) -> str:
    spec = SPEC.model_copy(update={"description": payload, "owner": payload})
    return markdown.fill("### Train `{spec.model}`\n{description}\n\nOwner: **{owner}**\n", spec=spec)


PAGES = {"form": approval_form, "card": version_card, "DAG": dag_page}


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("page", PAGES)
def test_text_that_others_wrote_is_no_markup_wherever_people_read_it(page: str, payload: str) -> None:
    """The page has the markup that it has with harmless words in the same places."""
    shown = shape(PAGES[page](payload))
    plain = [kind for kind, _ in shape(PAGES[page]("harmless words")) if kind in MARKUP - {"code_inline", "link_open"}]
    assert [kind for kind, _ in shown if kind in MARKUP - {"code_inline", "link_open"}] == plain
    assert not [where for _, where in shown if where and not str(where).startswith("/dags/")]


PIECES = [*string.punctuation, " ", "\n", "a", "1", "<b>", "](", "://", "&amp;"]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_any_text_is_shown_letter_for_letter(content: str) -> None:
    for before, after in (("", ""), ("x ", " y"), ("- ", ""), ("| ", " |\n|---|\n")):
        parsed = tokens(f"{before}{markdown.text(content)}{after}")
        assert MARKUP.isdisjoint(token.type for token in parsed), (before, content)
    words = "".join(
        token.content for token in tokens(f"x {markdown.text(content)} y") if token.type in ("text", "text_special")
    )
    assert words.split() == f"x {content} y".split()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from([*"`|\\ab \n", "``"]), max_size=12).map("".join))
def test_no_text_leaves_code_or_its_cell(content: str) -> None:
    [line] = [
        token
        for token in PARSER.parse(f"| a | b |\n|---|---|\n| {markdown.code(content)} | x |\n")
        if token.content == "x"
    ]
    assert line.type == "inline"


@pytest.mark.parametrize(
    ("address", "leads"),
    [
        ("https://mlflow.example/#/runs/1", True),
        ("/dags/x/runs/manual__(1)", True),
        ("//evil.example", False),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("https://a.example/) [b](javascript:alert(1)", True),
    ],
)
def test_a_link_leads_to_a_page_and_never_to_a_script(address: str, leads: bool) -> None:
    links = [token.attrs["href"] for token in tokens(markdown.link("a [page]", address)) if token.type == "link_open"]
    assert len(links) == leads
    assert not any(str(link).startswith("javascript") for link in links)


class Tags(HTMLParser):
    """The elements of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(" ".join([tag, *sorted(name for name, _ in attrs)]))


def html_pages(payload: str) -> Iterator[str]:
    verdict = Verdict(rule="a rule", outcome=Outcome.FAIL, reasons=(payload,), findings=(payload,))
    yield verdict_section(verdict, payload)
    yield live_inputs_page(payload)


def live_inputs_page(payload: str) -> str:
    """The page of a day on which callers sent a category that training had not."""
    training = DriftMeasure(
        name=payload, kind="categorical", method="chi_squared", rows=900, statistic=None, p_value=None, psi=0.1
    )
    measure = InputMeasure(
        name=payload,
        rows=900,
        null_share=0.9,
        max_null_share=0.5,
        outside_share=0.5,
        outside=payload,
        unseen_share=0.5,
        unseen=[payload],
        differing_share=0.5,
        differing=payload,
        training=training,
    )
    day = date(2013, 3, 1)
    result = LiveInputsResult(model=payload, day=day, window=[day], judged=[day], rows=900, measures=[measure])
    store = MemoryStore()
    write_page(result, SPEC, store)
    return store.get(store_paths.live_input_report(payload, day)).decode()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_text_that_others_wrote_is_no_element_of_a_page(payload: str) -> None:
    for shown, plain in zip(html_pages(payload), html_pages("harmless"), strict=True):
        assert Tags(shown).tags == Tags(plain).tags


@pytest.mark.parametrize(
    "payload", ["x\nTo do: open https://evil.example", "x\r\nAcknowledged: by ada", "x\u2028Ended: now"]
)
def test_text_that_others_wrote_begins_no_line_of_a_message_about_an_incident(payload: str) -> None:
    now = datetime(2013, 3, 1, tzinfo=UTC)
    times = dict.fromkeys(("first_seen", "opened", "last_seen"), now)
    texts = dict.fromkeys(("what", "affects", "done", "acknowledged_by", "acknowledged_because"), payload)
    fields = {"model": "m", "kind": "live_input_fault", "subject": payload, "status": "open", "severity": "critical"}
    incident = Incident.model_validate({**fields, **times, **texts, "number": 7, "numbers": {payload: payload}})
    lines = full_text(incident, AlertsSpec(), "https://airflow").splitlines()
    names = ["What", "Affects", "Since", "Done already", "To do", "Acknowledged", "Numbers", "Take it"]
    assert [line.partition(":")[0] for line in lines] == names
    assert len(headline(incident, "opened").splitlines()) == 1
