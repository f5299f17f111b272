"""`s2s report --html`: conversations as a page."""

import re
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as examples

from client.cost.deployment import priced_deployments
from client.cost.past import cost_of, past_of_metrics
from client.cost.prices import PRICES, read_prices
from client.cost.table import dollars
from client.errors import ExitCode
from client.metrics.metrics_file import ConversationEnded, ConversationStarted, MetricsLine
from client.metrics.summary import summarized
from client.report.distributions import first_audio_plot, rest_plot
from client.report.endpointing import silence_plots
from client.report.over_time import MOST_POINTS, outcomes_plot, voice_to_voice_plot
from client.report.page import LATEST, SLOWEST, Costs, report_page
from client.report.plot import DARK, LIGHT, png
from client.report.turns import NumberedTurn, numbered_turns, waits_us
from client.report.waits import LAST, waits_plot
from client.report.waterfall import waterfall
from conversation.turn_record import EndOfTurn, TurnRecord, VoiceToVoice
from shared.errors import Stage
from shared.ledger import Activity, Ledger, Span
from shared.settings import Settings
from shared.turn import Failure, Models
from tests.support.html_page import HtmlPage
from tests.support.metrics_lines import STARTED, metrics_lines, turn, turn_records
from tests.support.s2s_command import refused, s2s

HOSTILE = "<script>alert('ha')</script><img src=http://evil.example/x onerror=go()>\u202e&amp;"


def ledger(
    first_ms: Sequence[tuple[Stage, Activity, int]], rest_ms: Sequence[tuple[Stage, Activity, int]] = ()
) -> Ledger:
    spans = [Span(stage=stage, activity=of, duration_us=ms * 1000) for stage, of, ms in (*first_ms, *rest_ms)]
    first_us = sum(ms for *_, ms in first_ms) * 1000
    return Ledger(
        spans=tuple(spans), time_to_first_audio_us=first_us, total_us=sum(span.duration_us for span in spans)
    )


def answered(number: int, *, asr_ms: int = 200) -> TurnRecord:
    """After 250 ms of pause the pipeline takes `asr_ms` + 90 ms to its first audio, the network 40 ms; 10 ms
    later it is played."""
    made = ledger(
        [(Stage.ASR, "work", asr_ms), (Stage.LLM, "first token", 60), (Stage.TTS, "work", 30)],
        [(Stage.LLM, "work", 100), (Stage.TTS, "work", 70)],
    )
    first_us = (asr_ms + 130) * 1000
    spans = VoiceToVoice(
        pause_us=250_000, first_audio_us=first_us, held_us=0, playback_us=10_000, total_us=first_us + 260_000
    )
    return turn(
        began_us=number * 10_000_000,
        ended_us=number * 10_000_000 + 5_000_000,
        outcome="completed",
        voice_to_voice=spans,
        end_to_end_us=made.total_us + 40_000,
        ledger=made,
        ends=(EndOfTurn(ended_by="silence", silence_us=1_000_000, spoke_on=number == 1),),
    )


FAILED = turn(
    outcome="failed",
    failure=Failure(kind=HOSTILE, stage=Stage.LLM, retryable=True, message=HOSTILE),
    models=Models(asr=HOSTILE, llm=HOSTILE),
)
LINES: list[MetricsLine] = [
    STARTED,
    *(answered(number, asr_ms=100 + 5 * (number * 7 % 30)) for number in range(LATEST + SLOWEST + 5)),
    FAILED,
    turn(outcome="no_speech"),
    ConversationEnded(session_id="one", duration_us=400_000_000),
]


def costs_of(lines: Sequence[MetricsLine]) -> Costs:
    deployments = priced_deployments(Settings(), read_prices(PRICES))
    return Costs([cost_of(past_of_metrics(lines), deployment) for deployment in deployments], ["Assumed."])


@pytest.fixture(scope="module")
def page() -> HtmlPage:
    return HtmlPage(report_page(LINES, summarized(LINES), costs_of(LINES), [HOSTILE]))


def page_at(path: Path) -> HtmlPage:
    return HtmlPage(path.read_text())


def written(path: Path, lines: Sequence[MetricsLine]) -> Path:
    path.write_text("".join(line.model_dump_json() + "\n" for line in lines))
    return path


def numbered(*records: MetricsLine) -> list[NumberedTurn]:
    return list(numbered_turns(records))


# What is on the page


def test_the_figures_are_the_summarys(page: HtmlPage) -> None:
    rows = page.rows("milliseconds")
    metrics = summarized(LINES).metrics
    assert rows.keys() == {metric.name for metric in metrics}
    for metric in metrics:
        times_us = (metric.average_us, metric.min_us, metric.max_us, metric.p50_us, metric.p95_us)
        assert rows[metric.name] == [f"{metric.turns:,}", *(f"{us / 1000:,.0f}" for us in times_us)]


def test_the_costs_are_those_of_s2s_cost(page: HtmlPage) -> None:
    rows = page.rows("deployed as")
    for cost in costs_of(LINES).costs:
        assert rows[cost.name][2:] == [dollars(one) for one in (cost.per_turn, cost.per_minute, cost.dollars)]
    assert "Assumed." in page.text


def test_errors_are_counted_with_the_last_message(page: HtmlPage) -> None:
    assert page.rows("error") == {
        HOSTILE.replace("\u202e", ""): ["llm", "yes", "1", "26", HOSTILE.replace("\u202e", "")]
    }


def test_of_many_turns_the_slowest_and_the_latest_have_a_waterfall_and_the_page_says_so(
    page: HtmlPage,
) -> None:
    turns = numbered(*LINES)
    slowest = sorted(turns, key=lambda one: one.voice_to_voice_us or 0, reverse=True)[:SLOWEST]
    expected = {one.number for one in slowest} | {one.number for one in turns[-LATEST:]}
    shown = [int(number) for number in re.findall(r"^Turn (\d+): ", page.text, re.MULTILINE)]
    assert sorted(shown) == sorted(expected)
    assert f"Of {len(turns)} turns, the {SLOWEST} with the longest voice-to-voice" in page.text


def test_every_plot_has_a_description_and_its_figures_as_a_table(page: HtmlPage) -> None:
    described = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(described) == page.tags.count("svg") > 0
    assert all(described)
    drawn = [value for _, name, value in page.attributes if name == "id" and value.startswith("turn-")]
    assert page.tags.count("details") >= len(drawn)


def test_text_from_outside_is_text(page: HtmlPage) -> None:
    assert {"script", "img", "b"}.isdisjoint(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert HOSTILE.replace("\u202e", "") in page.text
    assert "\u202e" not in page.source


def test_nothing_is_loaded(page: HtmlPage) -> None:
    (policy,) = [
        value
        for tag, name, value in page.attributes
        if tag == "meta" and name == "content" and "src" in value
    ]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert {"link", "script", "iframe", "image", "use"}.isdisjoint(page.tags)
    loading = {"src", "href", "xlink:href", "srcset", "data", "action", "poster"}
    assert not [one for one in page.attributes if one[1] in loading]
    assert "url(" not in page.source
    assert "@import" not in page.source


def test_every_colour_of_a_plot_is_light_or_dark_as_the_reader_likes(page: HtmlPage) -> None:
    used = set(re.findall(r"var\(--([a-z]+)\)", page.source))
    assert used <= LIGHT.keys() == DARK.keys()
    in_svg = set(re.findall(r'(?:fill|stroke)="([^"]+)"', page.source))
    assert not [one for one in in_svg if one.startswith(("#", "rgb"))]
    assert "@media screen and (prefers-color-scheme: dark)" in page.source


# What a turn's plots show


@examples(max_examples=40)
@given(turn_records())
def test_what_a_listener_waited_for_sums_to_voice_to_voice(record: TurnRecord) -> None:
    spans = record.voice_to_voice
    assert sum(waits_us(record).values()) == (spans.total_us if spans else 0)
    assert all(us >= 0 for us in waits_us(record).values())


def test_a_waterfall_runs_from_the_end_of_speech_through_the_ledger_to_the_first_audio() -> None:
    (one,) = numbered(answered(0))
    plot = waterfall(one)
    assert plot
    assert plot.rows == [
        ("Pause", "0 ms", "250 ms", "250 ms"),
        ("ASR work", "250 ms", "450 ms", "200 ms"),
        ("LLM first token", "450 ms", "510 ms", "60 ms"),
        ("TTS work", "510 ms", "710 ms", "100 ms"),  # of the first chunk, and of the rest
        ("LLM work", "540 ms", "640 ms", "100 ms"),
        ("Network", "540 ms", "580 ms", "40 ms"),
        ("Playback", "580 ms", "590 ms", "10 ms"),
    ]
    assert plot.title == "Turn 1: first audio after 590 ms"


def test_a_turn_that_broke_off_before_its_ledger_came_has_one_bar_for_the_pipeline() -> None:
    record = answered(0)
    (one,) = numbered(
        record.model_copy(update={"ledger": None, "end_to_end_us": None, "outcome": "interrupted"})
    )
    plot = waterfall(one)
    assert plot
    assert [row[0] for row in plot.rows] == ["Pause", "Pipeline", "Playback"]


def test_spans_are_summed_by_turn_before_and_after_the_first_audio() -> None:
    turns = numbered(answered(0, asr_ms=100), answered(1, asr_ms=300))
    before, after = first_audio_plot(turns), rest_plot(turns)
    assert before
    assert after
    assert {row[0]: row[4] for row in before.rows} == {
        "Pause": "250 ms", "ASR work": "200 ms", "LLM first token": "60 ms", "TTS work": "30 ms",
        "Network": "40 ms", "Playback": "10 ms",
    }  # fmt: skip
    assert {row[0]: row[4] for row in after.rows} == {"LLM work": "100 ms", "TTS work": "70 ms"}


def test_silences_are_counted_by_length_and_by_whether_the_person_spoke_on() -> None:
    (plot,) = silence_plots(numbered(answered(0), answered(1), answered(2)))
    assert plot.rows == [("1.0 s", "2", "1")]


def test_many_turns_are_summed_over_time() -> None:
    few = voice_to_voice_plot(numbered(*(answered(number) for number in range(MOST_POINTS))))
    many = voice_to_voice_plot(numbered(*(answered(number) for number in range(MOST_POINTS + 1))))
    assert few
    assert many
    assert (len(few.rows), len(many.rows)) == (MOST_POINTS, 60)
    assert many.rows[0] == ("1 to 7", "590 ms", "590 ms", "590 ms")
    waits = waits_plot(numbered(*(answered(number) for number in range(LAST + 3))))
    assert waits
    assert len(waits.rows) == LAST


@examples(max_examples=40)
@given(metrics_lines)
def test_whatever_a_metrics_file_holds_can_be_plotted(lines: list[MetricsLine]) -> None:
    turns = numbered(*lines)
    plots = [waits_plot(turns), voice_to_voice_plot(turns), outcomes_plot(turns), first_audio_plot(turns)]
    plots += [rest_plot(turns), *silence_plots(turns), *map(waterfall, turns)]
    for plot in plots:
        if plot:
            assert {len(row) for row in plot.rows} == {len(plot.headings)}


def test_a_plot_is_also_a_picture_in_the_light_colours() -> None:
    plot = waterfall(numbered(answered(0))[0])
    assert plot
    assert png(plot, 400).startswith(b"\x89PNG")


# The command


def test_the_page_is_written_and_its_place_told(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    first, second = (
        written(
            tmp_path / f"{name}.jsonl",
            [ConversationStarted(session_id=name), answered(0).model_copy(update={"session_id": name})],
        )
        for name in ("monday", "tuesday")
    )
    told = s2s("report", first, second, "--html", report)
    assert told.exit_code == 0, told.output
    assert told.stdout == f"Wrote {report} (2 turns).\n"
    page = page_at(report)
    assert "2 conversations of at least 10 s, 2 turns: 2 completed." in page.text
    assert "from monday.jsonl, tuesday.jsonl." in page.text
    assert report.stat().st_mode & 0o777 == first.stat().st_mode & 0o777


def test_several_files_add_up_in_the_table_too(tmp_path: Path) -> None:
    files = [written(tmp_path / f"{name}.jsonl", [answered(0)]) for name in ("monday", "tuesday")]
    assert ", 2 turns: 2 completed." in s2s("report", *files).stdout


def test_a_page_without_turns_says_so(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    for lines, saying in (([], "No conversation."), ([STARTED], "no turns: nobody spoke.")):
        told = s2s("report", written(tmp_path / "metrics.jsonl", lines), "--html", report)
        assert told.exit_code == 0, told.output
        assert saying in page_at(report).text
        assert "svg" not in page_at(report).tags


def test_costs_that_are_not_known_do_without_and_say_why(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    s2s("report", written(tmp_path / "metrics.jsonl", []), "--html", report, S2S_ASR_GPU="Z9")
    assert "What it would cost is not known:" in page_at(report).text
    assert "Z9" in page_at(report).text


def test_without_the_library_for_plots_the_command_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    report = tmp_path / "report.html"
    told = s2s("report", written(tmp_path / "metrics.jsonl", [STARTED, answered(0)]), "--html", report)
    refused(told, ExitCode.MISCONFIGURED, "pip install -e '.[report]'")
    assert not report.exists()


@pytest.mark.parametrize(
    ("content", "saying"), [(None, "cannot be read"), ("{", "Line 1"), ("<html>", "Line 1")], ids=str
)
def test_a_file_that_is_no_metrics_file_is_refused_and_the_old_page_kept(
    tmp_path: Path, content: str | None, saying: str
) -> None:
    report, metrics = tmp_path / "report.html", tmp_path / "metrics.jsonl"
    report.write_text("the old one")
    if content is not None:
        metrics.write_text(content)
    refused(s2s("report", metrics, "--html", report), ExitCode.BAD_INPUT, saying)
    assert report.read_text() == "the old one"


def test_what_is_no_page_is_not_overwritten(tmp_path: Path) -> None:
    metrics = written(tmp_path / "metrics.jsonl", [STARTED])
    refused(s2s("report", metrics, "--html", metrics), ExitCode.OUTPUT_NOT_WRITTEN, ".html")
    refused(
        s2s("report", metrics, "--html", tmp_path / "no" / "r.html"),
        ExitCode.OUTPUT_NOT_WRITTEN,
        "no directory",
    )
    assert s2s("report", metrics, "--html", "r.html", "--json").exit_code == ExitCode.USAGE


def test_a_page_that_cannot_be_written_whole_leaves_the_old_one(tmp_path: Path) -> None:
    report, metrics = tmp_path / "report.html", written(tmp_path / "metrics.jsonl", [])
    report.write_text("the old one")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        told = s2s("report", metrics, "--html", report)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    refused(told, ExitCode.OUTPUT_NOT_WRITTEN, "cannot be written")
    assert report.read_text() == "the old one"
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "metrics.jsonl"}
