"""Drafts a dataset, a view and a model from guesses about files; what cannot be known is a question in the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pipelines.errors import Refused
from pipelines.spec.feature_faults import RESERVED_COLUMNS
from pipelines.spec.model import Drift, Training
from pipelines.steps.drafting.dataset_page import dataset_page
from pipelines.steps.drafting.declaration_page import DeclarationPage
from pipelines.steps.drafting.question import FutureQuestion
from pipelines.steps.drafting.row_outcome import row_outcome, without_keys
from pipelines.steps.drafting.table_guess import TableGuess, identifier
from pipelines.steps.drafting.view_page import panel_page, row_page

ROWS_ASKED_FOR: int = Training.model_fields["minimum_rows"].default
"""Training rows that a model needs where it declares nothing."""
ROWS_A_WEEK: int = Drift.model_fields["minimum_rows"].default
"""Rows that a weekly window of monitoring needs where it declares nothing."""


@dataclass(frozen=True)
class Draft:
    """``texts``: file below the folder of declarations to its content. ``questions``: file, line, text."""

    dataset: str
    sources: list[str]
    view: str | None
    model: str | None
    texts: dict[str, str]
    questions: list[tuple[str, int | None, str]]


def draft(
    name: str, tables: Sequence[TableGuess], question: FutureQuestion | str | None, *, lead: timedelta, today: date
) -> Draft:
    """The first of ``tables`` has the rows that a question about a row is put to. ``today``: of a person's calendar."""
    main = _main_table(tables, question)
    outcome = row_outcome(main, question, lead) if isinstance(question, str) else None
    if outcome is not None:
        outcome = without_keys(outcome, main, tables)
    page = dataset_page(name, tables, main, outcome, lead, today)
    texts, questions = {f"datasets/{name}.yaml": page.text}, _placed(f"datasets/{name}.yaml", page)
    view = model = None
    why_not = _why_no_view(main, tables, question)
    if question is not None and why_not is None:
        view = (
            identifier(f"{main.source}_{question.every}")
            if isinstance(question, FutureQuestion)
            else f"{main.source}_rows"
        )
        label = question.name if isinstance(question, FutureQuestion) else (outcome.name if outcome else "")
        model = label if label != view else f"{label}_model"
        view_page = (
            panel_page(name, view, tables, main, question)
            if isinstance(question, FutureQuestion)
            else row_page(name, view, tables, main, outcome, lead)  # type: ignore[arg-type]
        )
        model_page = _model_page(model, view, label, main, question)
        for file, other in ((f"features/{view}.yaml", view_page), (f"models/{model}.yaml", model_page)):
            texts[file] = other.text
            questions += _placed(file, other)
    else:
        questions.append((f"datasets/{name}.yaml", None, why_not or _what_to_ask(main)))
    return Draft(name, [table.source for table in tables], view, model, texts, questions)


def _placed(file: str, page: DeclarationPage) -> list[tuple[str, int | None, str]]:
    return [(file, line, text) for line, text in page.questions]


def _main_table(tables: Sequence[TableGuess], question: FutureQuestion | str | None) -> TableGuess:
    if not isinstance(question, FutureQuestion):
        return tables[0]
    for table in tables:
        if table.source == question.source:
            if question.column is not None and question.column not in table.columns:
                raise Refused(f"{table.file} has no column {question.column!r}; it has {', '.join(table.columns)}")
            return table
    sources = ", ".join(table.source for table in tables)
    raise Refused(f"no file is called {question.source}; the files are {sources}")


def _what_to_ask(main: TableGuess) -> str:
    example = next((name for name, column in main.columns.items() if column.type == "boolean"), "")
    example = example or [*main.columns][-1]
    return f"what is to be predicted? add --predict with a column or a condition, as in --predict {example}"


def _why_no_view(main: TableGuess, tables: Sequence[TableGuess], question: FutureQuestion | str | None) -> str | None:
    """Why no view of the rows can be declared; None: one can."""
    if question is None:
        return None
    if main.event_time is None and not isinstance(question, str):
        return f"no column of {main.file} says when its rows happened; add one, or name it with --event-time"
    if main.event_time is None and len(tables) > 1:
        return f"no column of {main.file} says when its rows happened; draft it without the other files"
    if main.event_time is not None and isinstance(question, str) and not main.key:
        return (
            f"no columns tell the rows of {main.file} apart, so that an answer would be of no one row; have the source "
            "deliver an id, or name what tells them apart with --key"
        )
    if reserved := [name for name in main.key if main.stored(name) in RESERVED_COLUMNS]:
        return f"the key {', '.join(reserved)} has a name that tables of features have of their own; rename it"
    return None


def _model_page(
    model: str, view: str, label: str, main: TableGuess, question: FutureQuestion | str | None
) -> DeclarationPage:
    page = DeclarationPage()
    page.write("# yaml-language-server: $schema=../schemas/model.schema.json")
    page.write("schema: 2")
    page.write(f"model: {model}")
    page.ask("what is predicted, and for whom? write `description: …`; and who answers for it? write `owner: …`")
    page.write(f"view: {view}")
    page.write(f"target: {label}")
    page.write("estimator: {kind: xgboost}")
    if isinstance(question, FutureQuestion) or main.event_time is None:
        return page
    if main.rows < 2 * ROWS_ASKED_FOR:
        page.remark(f"there are {main.rows:,} rows; {ROWS_ASKED_FOR:,} are asked for where nothing is declared")
        page.write(f"training: {{minimum_rows: {max(10, main.rows // 2)}}}")
    days = main.days()
    weekly = 7 * main.rows // max(1, (days[-1] - days[0]).days + 1)
    if weekly < 2 * ROWS_A_WEEK:
        page.remark(f"a week has some {weekly:,} rows; {ROWS_A_WEEK} are asked for where nothing is declared")
        page.write(f"monitoring: {{drift: {{minimum_rows: {max(1, weekly // 2)}}}}}")
    return page
