"""Every row of a day is judged; bad ones are staged with all their reasons, and nothing is published."""

from __future__ import annotations

import html
import io
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from great_expectations import ExpectationSuite

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.validation import AuditResult, PublishRequest, PublishResult, SourceAudit, ValidateRequest
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.source import SourceSpec
from pipelines.steps import audit_partition, publish_partition
from pipelines.steps.auditing.report import render_report
from pipelines.steps.auditing.suite import read_suite
from pipelines.steps.auditing.validation import split_by_suite
from pipelines.tables.profile import TableProfile
from pipelines.tables.quarantined_rows import describe_rows
from pipelines.testing.ports import FakePorts

DAY = date(2013, 2, 12)
NO_GUSTS = {"wind_gust": None, "wind_dir": 250}


def weather(*changes: dict[str, object]) -> pl.DataFrame:
    """One observation per change, three good ones first."""
    good = {"origin": "EWR", "temp": 39.0, "dewp": 26.0, "humid": 59.0, "wind_speed": 10.4, "precip": 0.0}
    rows = [good | NO_GUSTS | {"pressure": 1012.0, "visib": 10.0} | change for change in [{}, {}, {}, *changes]]
    return pl.DataFrame(rows, schema_overrides={"wind_gust": pl.Float64, "wind_dir": pl.Int64})


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    made = FakePorts.make(tmp_path)
    flights = pl.DataFrame(
        {
            "carrier": ["UA", "AA"],
            "dest": ["IAH", "MIA"],
            "tailnum": ["N14228", None],
            "dep_time": [517, None],
            "arr_time": [830, None],
            "dep_delay": [2, None],
            "arr_delay": [11, None],
            "air_time": [227, None],
            "distance": [1400, 1089],
            "hour": [5, 5],
        }
    )
    made.store.replace_partition(store_paths.raw("flights", "flights"), DAY, flights)
    planes = pl.DataFrame({"tailnum": ["N14228"], "year": [1999], "seats": [149], "engines": [2]})
    made.store.replace_partition(store_paths.raw("flights", "planes"), date(2013, 1, 1), planes)
    made.store.replace_partition(
        store_paths.raw("flights", "airports"), date(2013, 1, 1), pl.DataFrame({"faa": ["EWR"]})
    )
    made.store.replace_partition(store_paths.raw("flights", "weather"), DAY, weather())
    return made


def audit(ports: FakePorts) -> AuditResult:
    return audit_partition.run(ValidateRequest(dataset="flights", partition=f"{DAY}"), ports)


def publish(ports: FakePorts, audited: AuditResult, *, accept: bool = True) -> PublishResult:
    return publish_partition.run(PublishRequest(audit=audited, accept=accept), ports)


def test_a_row_is_quarantined_with_every_reason_and_the_others_are_accepted(ports: FakePorts) -> None:
    rows = weather({"wind_speed": 1048.4, "visib": -1.0}, {"wind_speed": 1048.4})
    ports.store.replace_partition(store_paths.raw("flights", "weather"), DAY, rows)
    found = next(source for source in audit(ports).sources if source.source == "weather")
    assert (found.received, found.accepted, found.quarantined) == (5, 3, 2)
    wind, sight = "wind_speed lies outside of 0 to 120 miles per hour", "visib lies outside of 0 to 10 miles"
    assert found.reasons == {wind: 2, sight: 1}
    staged = pl.read_parquet(io.BytesIO(ports.store.get(found.staged["quarantined"])))
    assert staged["reasons"].to_list() == [[wind, sight], [wind]]


def test_nothing_is_published_by_an_audit(ports: FakePorts) -> None:
    audit(ports)
    assert ports.store.days(store_paths.validated("flights", "flights")) == []
    assert ports.store.days(store_paths.quarantine("flights", "flights")) == []


def test_cancelled_flights_and_missing_tail_numbers_are_no_fault(ports: FakePorts) -> None:
    found = next(source for source in audit(ports).sources if source.source == "flights")
    assert (found.accepted, found.quarantined) == (2, 0)


def test_the_report_opens_without_a_network_and_names_what_was_found(ports: FakePorts) -> None:
    ports.store.replace_partition(store_paths.raw("flights", "weather"), DAY, weather({"wind_speed": 1048.4}))
    page = ports.store.get(audit(ports).report or "").decode()
    assert "wind_speed lies outside" in page
    assert "1048.4" in page
    assert "<script" not in page
    assert not re.search(r"https?://|<img|<link|<footer", html.unescape(page))


@pytest.mark.parametrize(
    ("rows", "headline"),
    [(19, "PASS: the accepted rows are published"), (1, "FAIL: nothing of this partition is published")],
)
def test_the_report_opens_with_the_verdict_which_no_other_headline_contradicts(
    ports: FakePorts, rows: int, headline: str
) -> None:
    frame = weather({"wind_speed": 1048.4}, *[{}] * rows)
    ports.store.replace_partition(store_paths.raw("flights", "weather"), DAY, frame)
    page = html.unescape(ports.store.get(audit(ports).report or "").decode())
    top = page.partition("<table>")[0]
    assert headline in top
    assert f"<title>flights day {DAY}, validation: {headline.partition(':')[0]}</title>" in top
    assert ("0.2000 > 0.0500" in top) == (rows == 1)
    assert "Status:" not in page


def test_the_report_shows_each_quarantined_row_with_day_key_and_value(ports: FakePorts) -> None:
    ports.store.replace_partition(
        store_paths.raw("flights", "weather"), DAY, weather({"wind_speed": 1048.4, "visib": -1.0})
    )
    page = ports.store.get(audit(ports).report or "").decode()
    wind, sight = "wind_speed lies outside of 0 to 120 miles per hour", "visib lies outside of 0 to 10 miles"
    values = "wind_speed 1048.4<br>visib -1.0"
    assert f"<tr><td>{DAY}<td>origin EWR<td>{values}<td>{wind}<br>{sight}</tr>" in page
    assert "flights: rows in quarantine" not in page


def test_the_report_of_very_many_bad_rows_shows_some_and_names_the_command_for_all(ports: FakePorts) -> None:
    ports.store.replace_partition(store_paths.raw("flights", "weather"), DAY, weather(*[{"wind_speed": 1048.4}] * 201))
    page = ports.store.get(audit(ports).report or "").decode()
    assert page.count("<td>wind_speed 1048.4<td>") == 200
    assert "and 1 more: <code>airworthy quarantine flights weather</code>" in page


def test_the_report_shows_no_value_of_a_column_with_personal_data(ports: FakePorts) -> None:
    source = ports.catalog.datasets["flights"].sources["weather"]
    source.columns["wind_speed"] = source.columns["wind_speed"].model_copy(update={"pii": True})
    ports.store.replace_partition(store_paths.raw("flights", "weather"), DAY, weather({"wind_speed": 1048.4}))
    page = html.unescape(ports.store.get(audit(ports).report or "").decode())
    assert "1048" not in page
    assert "wind_speed (personal data)" in page
    assert "wind_speed lies outside" in page


def test_a_day_that_was_not_ingested_is_refused_naming_the_sources_that_are_never_silent(ports: FakePorts) -> None:
    with pytest.raises(Refused) as refused:
        audit_partition.run(ValidateRequest(dataset="flights", partition=f"{date(2013, 2, 13)}"), ports)
    assert [reason.split(":")[0] for reason in refused.value.reasons] == ["flights"]


def test_a_reference_copy_is_judged_once_and_again_only_on_its_own_day(ports: FakePorts) -> None:
    publish(ports, audit(ports))
    assert {source.source for source in audit(ports).sources} == {"flights", "weather"}


def test_publishing_keeps_every_row_in_one_of_two_tables(ports: FakePorts) -> None:
    ports.store.replace_partition(store_paths.raw("flights", "weather"), DAY, weather({"humid": 140.0}))
    published = publish(ports, audit(ports))
    accepted, refused = (
        ports.store.read(table, days=[DAY]) for table in ("validated/flights.weather", "quarantine/flights.weather")
    )
    assert (accepted.height, refused.height) == (3, 1)
    assert refused["reasons"].to_list() == [["humid lies outside of 0 to 100 per cent"]]
    assert ports.store.exists(store_paths.profile("validated/flights.weather", DAY))
    assert set(published.profiles) == {
        f"validated/flights.{source}" for source in ("flights", "weather", "planes", "airports")
    }


def test_the_profile_of_a_published_day_holds_its_class_balance(ports: FakePorts) -> None:
    published = publish(ports, audit(ports))
    profile = TableProfile.model_validate_json(ports.store.get(published.profiles["validated/flights.flights"]))
    assert (profile.categorical["late"].counts, profile.categorical["late"].nulls) == ({"false": 1}, 1)
    assert profile.numeric["distance"].maximum == 1400


def test_publishing_twice_changes_no_content(ports: FakePorts) -> None:
    audited = audit(ports)
    publish(ports, audited)
    before = ports.store.read("validated/flights.weather", days=[DAY])
    publish(ports, audited)
    assert ports.store.read("validated/flights.weather", days=[DAY]).equals(before)


def test_rows_that_are_published_already_are_not_written_again_so_that_nothing_becomes_stale(ports: FakePorts) -> None:
    publish(ports, audit(ports))
    tables = ["validated/flights.flights", "validated/flights.weather"]
    before = {table: ports.store.version(table) for table in tables}
    publish(ports, deliver_weather(ports))
    assert [ports.store.changed_days(table, before[table]) for table in tables] == [set(), set()]
    raw = ports.store.version("raw/flights.weather")
    assert ports.store.input_version("validated/flights.weather", DAY) == raw


def test_a_refused_day_leaves_the_published_tables_alone_and_keeps_its_bad_rows(ports: FakePorts) -> None:
    publish(ports, audit(ports))
    version = ports.store.version("validated/flights.weather")
    ports.store.replace_partition(store_paths.raw("flights", "weather"), DAY, weather({"humid": 140.0}))
    publish(ports, audit(ports), accept=False)
    assert ports.store.version("validated/flights.weather") == version
    assert ports.store.read("quarantine/flights.weather", days=[DAY]).height == 1


def test_a_day_without_observations_is_published_empty(ports: FakePorts) -> None:
    ports.store.replace_partition(store_paths.raw("flights", "weather"), DAY, weather().clear())
    audited = audit(ports)
    publish(ports, audited)
    assert next(source.received for source in audited.sources if source.source == "weather") == 0


def test_a_faulty_suite_is_refused_with_every_fault(tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(
        "suite: odd\nexpectations:\n"
        "  - {type: expect_column_to_be_lucky, reason: luck}\n"
        "  - {type: expect_column_values_to_be_between, kwargs: {colum: x}, reason: typo}\n"
    )
    with pytest.raises(Refused) as refused:
        read_suite(path)
    faulty = dict.fromkeys(reason.split(" (")[0] for reason in refused.value.reasons)
    assert list(faulty) == ["expectation 1", "expectation 2"], refused.value.reasons
    assert any("kwargs.colum: unknown argument" in reason for reason in refused.value.reasons)


def test_an_expectation_on_a_column_that_is_not_there_is_refused_by_name(ports: FakePorts) -> None:
    ports.store.replace_partition(store_paths.raw("flights", "weather"), date(2013, 2, 13), weather().drop("visib"))
    suite = read_suite(ports.settings.include / "expectations" / "weather.yaml")
    with pytest.raises(Refused, match="visib"):
        split_by_suite(weather().drop("visib"), suite)


def weather_of(audited: AuditResult) -> SourceAudit:
    return next(source for source in audited.sources if source.source == "weather")


def deliver_weather(ports: FakePorts, *changes: dict[str, object]) -> AuditResult:
    ports.store.replace_partition(store_paths.raw("flights", "weather"), DAY, weather(*changes))
    return audit(ports)


def test_what_was_audited_is_published_although_a_bad_delivery_was_audited_meanwhile(ports: FakePorts) -> None:
    good = deliver_weather(ports, {"temp": 40.0})
    bad = deliver_weather(ports, *[{"humid": 140.0}] * 9)
    publish(ports, bad, accept=False)
    published = publish(ports, good)
    rows = ports.store.read("validated/flights.weather", days=[DAY])
    assert (rows.height, rows["humid"].max(), rows["temp"].max()) == (4, 59.0, 40.0)
    assert published.superseded == ["quarantine/flights.weather"]
    assert ports.store.read("quarantine/flights.weather", days=[DAY]).height == 9


def test_the_newest_published_delivery_stays_whoever_publishes_last(ports: FakePorts) -> None:
    older = deliver_weather(ports, {"temp": 40.0})
    newer = deliver_weather(ports, {"temp": 41.0}, {"temp": 42.0})
    publish(ports, newer)
    profile = ports.store.get(store_paths.profile("validated/flights.weather", DAY))
    published = publish(ports, older)
    assert ports.store.read("validated/flights.weather", days=[DAY])["temp"].max() == 42.0
    assert ports.store.get(store_paths.profile("validated/flights.weather", DAY)) == profile
    assert set(published.superseded) == {"validated/flights.weather", "quarantine/flights.weather"}
    assert "validated/flights.weather" not in published.profiles


def test_a_published_day_keeps_what_its_audit_staged_and_newer_audits_and_nothing_of_older_ones(
    ports: FakePorts,
) -> None:
    older, published, newer = (deliver_weather(ports, {"temp": temp}) for temp in (40.0, 41.0, 42.0))
    former = f"{published.staged}/weather.accepted.{'0' * 64}.parquet"
    ports.store.put(former, b"named no version")
    publish(ports, published)
    kept = [*weather_of(published).staged.values(), *weather_of(newer).staged.values(), former]
    stored = [path for path in ports.store.list(f"{published.staged}/") if "/weather." in path]
    assert stored == sorted(kept)
    assert set(weather_of(older).staged.values()).isdisjoint(stored)


def test_rows_that_somebody_else_put_in_the_place_of_staged_ones_are_not_published(ports: FakePorts) -> None:
    audited = audit(ports)
    buffer = io.BytesIO()
    weather({"temp": 99.0}).with_columns(pl.lit(DAY).alias("day")).write_parquet(buffer)
    ports.store.put(weather_of(audited).staged["accepted"], buffer.getvalue())
    with pytest.raises(Refused, match="is not what the audit staged"):
        publish(ports, audited)


def test_a_refused_delivery_deletes_nothing_of_one_that_may_still_be_published(ports: FakePorts) -> None:
    good = deliver_weather(ports, {"temp": 40.0})
    publish(ports, deliver_weather(ports, {"humid": 140.0}), accept=False)
    assert all(ports.store.exists(path) for path in weather_of(good).staged.values())


def test_an_audit_under_way_from_before_names_its_rows_by_its_folder(ports: FakePorts) -> None:
    audited = audit(ports)
    for source in audited.sources:
        for part, path in source.staged.items():
            ports.store.put(f"{audited.staged}/{source.source}.{part}.parquet", ports.store.get(path))
    former = [source.model_copy(update={"staged": {}}) for source in audited.sources]
    publish(ports, audited.model_copy(update={"sources": former}))
    assert ports.store.read("validated/flights.weather", days=[DAY]).height == 3


def test_a_raw_table_that_was_made_anew_is_published_although_its_versions_begin_again(ports: FakePorts) -> None:
    ports.store.replace_partition("validated/flights.weather", DAY, weather(), input_version=99)
    published = publish(ports, deliver_weather(ports, {"temp": 43.0}))
    assert ports.store.read("validated/flights.weather", days=[DAY])["temp"].max() == 43.0
    assert published.superseded == []


def suite_of(tmp_path: Path, *expectations: str) -> ExpectationSuite:
    path = tmp_path / "numbers.yaml"
    path.write_text(
        "suite: numbers\nexpectations:\n" + "".join(f"  - {{{item}, reason: odd}}\n" for item in expectations)
    )
    return read_suite(path)


PAIR = (
    "type: expect_column_pair_values_a_to_be_greater_than_b, "
    "kwargs: {column_A: n, column_B: m, or_equal: true, ignore_row_if: either_value_is_missing}"
)
INTEGERS = pl.Series("n", [517, None, 533, 51, (1 << 53) + 1], dtype=pl.Int64)


@pytest.mark.parametrize(
    ("expectation", "bad"),
    [
        ('type: expect_column_values_to_match_regex, kwargs: {column: n, regex: "^[0-9]{3}$"}', [51, (1 << 53) + 1]),
        ("type: expect_column_values_to_be_in_set, kwargs: {column: n, value_set: [517, 533, 51]}", [(1 << 53) + 1]),
        ("type: expect_column_values_to_be_between, kwargs: {column: n, max_value: 9007199254740992}", [(1 << 53) + 1]),
        ("type: expect_column_value_lengths_to_equal, kwargs: {column: n, value: 3}", [51, (1 << 53) + 1]),
        ("type: expect_column_values_to_not_be_null, kwargs: {column: n}", [None]),
        (PAIR, [51]),
    ],
)
def test_the_verdict_on_a_row_does_not_depend_on_what_other_rows_hold(
    tmp_path: Path, expectation: str, bad: list[int | None]
) -> None:
    suite = suite_of(tmp_path, expectation)
    frame = INTEGERS.to_frame().with_columns(m=pl.lit(100))
    assert split_by_suite(frame, suite).quarantined["n"].to_list() == bad
    alone = [split_by_suite(frame[[number]], suite).quarantined["n"].to_list() for number in range(frame.height)]
    assert [value for found in alone for value in found] == bad


TYPED = pl.DataFrame(
    {
        "n": range(4),
        "on": [date(2024, 1, 31), date(2024, 2, 1), None, date(2023, 1, 1)],
        "at": pl.Series(
            [
                datetime(2024, 1, 31, 10, tzinfo=UTC),
                datetime(2024, 2, 1, tzinfo=UTC),
                None,
                datetime(2023, 1, 1, tzinfo=UTC),
            ],
            dtype=pl.Datetime("us", "UTC"),
        ),
        "price": pl.Series([Decimal("1.10"), Decimal("1.09"), None, Decimal("7.25")], dtype=pl.Decimal(38, 2)),
        "sold": [True, False, None, True],
        "paid": [1.1, None, 2.0, 7.0],
    }
)


@pytest.mark.parametrize(
    ("expectation", "bad"),
    [
        ("values_to_be_between, kwargs: {column: on, min_value: 2024-01-31}", [3]),
        ('values_to_be_between, kwargs: {column: on, max_value: "2024-01-31"}', [1]),
        ("values_to_be_in_set, kwargs: {column: on, value_set: [2024-01-31]}", [1, 3]),
        ("values_to_not_be_in_set, kwargs: {column: on, value_set: [2024-01-31]}", [0]),
        ('values_to_match_regex, kwargs: {column: on, regex: "^2024-"}', [3]),
        ("values_to_be_between, kwargs: {column: at, min_value: 2024-01-31T11:00:00+01:00}", [3]),
        ('values_to_be_between, kwargs: {column: at, max_value: "2024-01-31T10:00:00Z"}', [1]),
        ("values_to_be_between, kwargs: {column: price, min_value: 1.1}", [1]),
        ("values_to_be_between, kwargs: {column: price, max_value: 7.25, strict_max: true}", [3]),
        ("values_to_be_in_set, kwargs: {column: price, value_set: [1.1, 7.25]}", [1]),
        ('values_to_match_regex, kwargs: {column: price, regex: "^1[.][0-9]{2}$"}', [3]),
        ("mean_to_be_between, kwargs: {column: price, min_value: 3, max_value: 4}", []),
        ("max_to_be_between, kwargs: {column: on, max_value: 2024-02-01}", []),
        ("values_to_be_in_set, kwargs: {column: sold, value_set: [true]}", [1]),
        ("values_to_not_be_null, kwargs: {column: price}", [2]),
        ("pair_values_a_to_be_greater_than_b, kwargs: {column_A: price, column_B: paid, or_equal: true}", [1, 2]),
    ],
)
def test_dates_times_and_decimals_are_compared_in_their_type(tmp_path: Path, expectation: str, bad: list[int]) -> None:
    findings = split_by_suite(TYPED, suite_of(tmp_path, f"type: expect_column_{expectation}"))
    assert (findings.quarantined["n"].to_list(), findings.failures) == (bad, [])


def test_a_row_that_lacks_a_value_is_shown_with_its_key_and_the_lack(ports: FakePorts, tmp_path: Path) -> None:
    suite = suite_of(tmp_path, "type: expect_column_values_to_not_be_null, kwargs: {column: temp}")
    bad = split_by_suite(weather({"origin": "JFK", "temp": None}), suite).quarantined
    source = ports.catalog.dataset("flights").sources["weather"]
    [shown] = describe_rows(bad.with_columns(day=pl.lit(DAY)), source, {"odd": ["temp"]})
    assert (shown.key["origin"], shown.values, shown.reasons) == ("JFK", {"temp": "none"}, ["odd"])


def test_a_suite_that_tolerates_bad_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"mostly 0\.95 would publish rows that break the expectation"):
        suite_of(tmp_path, "type: expect_column_values_to_be_between, kwargs: {column: n, max_value: 1, mostly: 0.95}")


def test_a_source_with_its_own_column_reasons_keeps_it_in_both_tables(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, "type: expect_column_values_to_be_between, kwargs: {column: n, max_value: 1}")
    found = split_by_suite(pl.DataFrame({"n": [1, 2], "reasons": ["rain", "snow"]}), suite)
    assert found.accepted.to_dicts() == [{"n": 1, "reasons": "rain"}]
    assert found.quarantined.to_dicts() == [{"n": 2, "source_reasons": "snow", "reasons": ["odd"]}]


PERSON = "ann.planted@mail.example"
JUDGES_OF_PEOPLE = [
    "most_common_value_to_be_in_set, kwargs: {column: email, value_set: [b]}",
    "distinct_values_to_equal_set, kwargs: {column: email, value_set: [b]}",
    "mean_to_be_between, kwargs: {column: email, max_value: 1}",
    "median_to_be_between, kwargs: {column: email, max_value: 1}",
    "value_z_scores_to_be_less_than, kwargs: {column: email, threshold: 1, double_sided: true}",
    "max_to_be_between, kwargs: {column: born, max_value: 1950-01-01}",
    "pair_values_to_be_equal, kwargs: {column_A: email, column_B: name}",
    "values_to_match_strftime_format, kwargs: {column: email, strftime_format: '%Y'}",
    "mean_to_be_between, kwargs: {column: n, max_value: 0, row_condition: 'email > \"a\"', condition_parser: pandas}",
]


@pytest.mark.filterwarnings("ignore:.*row_condition", "ignore:.*condition_parser")
@pytest.mark.parametrize("expectation", JUDGES_OF_PEOPLE)
def test_no_text_of_an_expectation_holds_a_value_of_a_personal_column(
    tmp_path: Path, expectation: str, caplog: pytest.LogCaptureFixture
) -> None:
    born = date(1984, 5, 6)
    people = pl.DataFrame({"email": [PERSON, PERSON, "b"], "name": ["Ann", None, PERSON], "born": [born] * 3, "n": 1})
    suite = suite_of(tmp_path, f"type: expect_column_{expectation}")
    texts: list[str] = []
    try:
        findings = split_by_suite(people, suite, ["email", "name", "born"])
        texts += [*findings.failures, *findings.reasons]
        columns = {name: {"type": kind, "pii": name != "n"} for name, kind in COLUMNS_OF_PEOPLE.items()}
        source = SourceSpec.model_validate(
            {"files": "{source}/{partition}/a.csv", "key": "row", "event_time": "none", "columns": columns}
        )
        spec = DatasetSpec.model_construct(dataset="people", sources={"people": source}, max_quarantined_share=1.0)
        audited = AuditResult(dataset="people", partition="2024-01-01", sources=[], staged="")
        assert findings.result is not None
        texts.append(render_report(audited, spec, {"people": findings.result}, {}))
    except Refused as error:
        texts += [error.subject, *error.reasons]
    assert not [text for text in [*texts, caplog.text] if PERSON in text or "1984" in text]


COLUMNS_OF_PEOPLE = {"email": "string", "name": "string", "born": "date", "n": "integer"}
