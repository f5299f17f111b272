"""The page, one file that loads nothing: conversations from headline figures down to the single turn."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from string import Template

from client.cost.past import PastCost
from client.cost.table import PAST_HEADINGS, dollars, past_cells
from client.metrics.metrics_file import MetricsLine
from client.metrics.summary import Metric, Summary
from client.metrics.table import METRIC_HEADINGS, SUMS, headline, metric_cells, remarks
from client.report.costs import cost_plot
from client.report.distributions import first_audio_plot, rest_plot
from client.report.endpointing import silence_plots
from client.report.markup import bullets, card, cards, figure, note, section, table, text, tile
from client.report.over_time import OUTCOMES, outcomes_plot, voice_to_voice_plot
from client.report.plot import DARK, LIGHT
from client.report.turns import NumberedTurn, clock, numbered_turns
from client.report.waits import LAST, waits_plot
from client.report.waterfall import ms, waterfall
from shared.errors import Stage

LATEST, SLOWEST = 12, 8
"""So many turns have a waterfall each, where there are more."""
MAX_ERRORS = 20
"""Kinds of errors that are listed, the most frequent first."""

_PAGE = Path(__file__).with_name("page.html")


@dataclass(frozen=True)
class Costs:
    """What the turns would have cost, and what that takes for granted; or why that is not known."""

    costs: Sequence[PastCost] = ()
    assumptions: Sequence[str] = ()
    problem: str = ""


def report_page(lines: Sequence[MetricsLine], summary: Summary, costs: Costs, sources: Sequence[str]) -> str:
    """The page, as HTML. `summary` is that of the lines, `sources` names the files that they are from.

    Raises Misconfigured if the library for plots is not installed.
    """
    turns = list(numbered_turns(lines))
    body = "".join(
        (
            _header(summary, turns, costs),
            section(
                "Turn by turn",
                figure(waits_plot(turns), _last_of(turns)),
                figure(voice_to_voice_plot(turns)),
                figure(outcomes_plot(turns)),
            ),
            section(
                "Distributions",
                figure(first_audio_plot(turns)),
                figure(rest_plot(turns)),
                about="Of all turns, on a logarithmic scale: the median, the middle half, and the 5th to "
                "95th percentile. What took less than 1 ms is drawn as 1 ms.",
            ),
            section("Endpointing", cards(card(plot, plot.title) for plot in silence_plots(turns))),
            section("Errors", _errors(turns)),
            section("Cost", *_costs(costs)),
            section("All figures", _metrics(summary.metrics), bullets(remarks(summary))),
            section(
                "Waterfalls",
                *_waterfalls(turns),
                about="From the end of speech. Solid is work, pale is waiting; the line is the first audio. "
                "What took less than 1 ms is left out.",
            ),
            _footer(sources),
        )
    )
    colours = {
        name: " ".join(f"--{key}: {value};" for key, value in palette.items())
        for name, palette in (("light", LIGHT), ("dark", DARK))
    }
    return Template(_PAGE.read_text()).substitute(colours, body=body)


def _header(summary: Summary, turns: Sequence[NumberedTurn], costs: Costs) -> str:
    times = [turn.at for turn in turns if turn.at]
    when = f"{_minute(min(times))} to {_minute(max(times))}. " if times else ""
    models = "; ".join(
        f"{Stage(stage).upper()} {', '.join(names)}" for stage, names in summary.models.items()
    )
    about = f'<p class="muted">{text(when)}{text(models)}</p>' if turns else ""
    tiles = "".join(_tiles(summary, costs))
    return (
        f"<header>\n<h1>Where the time went</h1>\n<p>{text(headline(summary))}</p>\n{about}\n"
        + (f'<dl class="tiles">\n{tiles}</dl>\n' if tiles else "")
        + "</header>\n"
    )


def _tiles(summary: Summary, costs: Costs) -> Iterator[str]:
    metrics = {metric.name: metric for metric in summary.metrics}
    for name in ("Voice-to-voice", "Time to first audio", "Pipeline total"):
        if name in metrics:
            yield tile(name, ms(metrics[name].p50_us), f"median; {ms(metrics[name].p95_us)} at p95")
    if summary.turns:
        failed = summary.outcomes.get("failed", 0)
        others = [
            f"{summary.outcomes[name]:,} {OUTCOMES[name]}" for name in OUTCOMES if name in summary.outcomes
        ]
        yield tile("Failed turns", f"{failed:,}", f"of {summary.turns:,}" if failed else ", ".join(others))
    for cost in costs.costs[:1]:
        if cost.per_turn is not None:
            yield tile(
                "A turn on Modal", dollars(cost.per_turn), f"{cost.name}; {dollars(cost.dollars)} in all"
            )


def _last_of(turns: Sequence[NumberedTurn]) -> str:
    answered = sum(turn.record.voice_to_voice is not None for turn in turns)
    return f"The last {LAST} of {answered:,} turns with audio." if answered > LAST else ""


def _errors(turns: Sequence[NumberedTurn]) -> str:
    failures = [(turn, turn.record.failure) for turn in turns if turn.record.failure]
    if not failures:
        return ""
    counts = Counter((one.kind, one.stage, one.retryable) for _, one in failures)
    last = {(one.kind, one.stage, one.retryable): (turn, one.message) for turn, one in failures}
    rows = [
        (kind, stage, "yes" if retryable else "no", f"{count:,}", f"{turn.number:,}", message)
        for (kind, stage, retryable), count in counts.most_common(MAX_ERRORS)
        for turn, message in [last[kind, stage, retryable]]
    ]
    headings = ("error", "stage", "a retry can help", "turns", "last in turn", "its message")
    more = len(counts) - MAX_ERRORS
    rest = [f"{more:,} kinds of errors more are not listed."] if more > 0 else []
    return table(headings, rows, texts=("stage", "its message")) + bullets(rest)


def _costs(costs: Costs) -> Iterator[str]:
    if costs.problem:
        yield f"<p>{text(costs.problem)}</p>"
    if any(cost.past.turns for cost in costs.costs):
        yield table(("deployed as", *PAST_HEADINGS), map(past_cells, costs.costs))
        yield figure(cost_plot(costs.costs))
        yield bullets(costs.assumptions)


def _metrics(metrics: Sequence[Metric]) -> str:
    if not metrics:
        return ""
    return table(METRIC_HEADINGS, map(metric_cells, metrics), sums=SUMS)


def _waterfalls(turns: Sequence[NumberedTurn]) -> Iterator[str]:
    if len(turns) <= LATEST + SLOWEST:
        yield cards(map(_card, turns))
        return
    answered = [turn for turn in turns if turn.voice_to_voice_us is not None]
    slowest = sorted(answered, key=lambda turn: turn.voice_to_voice_us or 0, reverse=True)[:SLOWEST]
    yield note(
        f"Of {len(turns):,} turns, the {SLOWEST} with the longest voice-to-voice and, where not among "
        f"these, the last {LATEST}. The others are in the sums above."
    )
    latest = [turn for turn in turns[-LATEST:] if turn not in slowest]
    for title, some in (("The slowest", slowest), ("The latest", latest)):
        yield f"<h3>{text(title)}</h3>{cards(map(_card, some))}"


def _card(turn: NumberedTurn) -> str:
    plot = waterfall(turn)
    first_us, record = turn.voice_to_voice_us, turn.record
    outcome = OUTCOMES[record.outcome]
    if record.failure:
        outcome += f" ({record.failure.kind})"
    when = f", {clock(turn)}" if turn.at else ""
    heading = f"Turn {turn.number}: {'no audio' if first_us is None else ms(first_us)}"
    if not plot:
        return f"<figure><h3>{text(heading)}<small>{text(outcome + when)}</small></h3></figure>\n"
    return card(plot, heading, outcome + when)


def _minute(at: datetime) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M %Z")


def _footer(sources: Sequence[str]) -> str:
    names = ", ".join(sources)
    now = _minute(datetime.now().astimezone())
    return f"<footer>Made by <code>s2s report --html</code> on {text(now)} from {text(names)}.</footer>"
