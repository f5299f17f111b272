"""`s2s report`: where the time of conversations went, as a table, as JSON or as a page."""

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from client.audio.audio_file import check_writable, write_errors
from client.cost import assumptions
from client.cost.deployment import priced_deployments
from client.cost.past import cost_of, past_of_metrics
from client.cost.prices import PRICES, read_prices
from client.display.terminal import print_json
from client.metrics.metrics_file import MetricsLine, read_metrics
from client.metrics.summary import summarized
from client.metrics.table import summary_table
from client.report.page import Costs, report_page
from shared.errors import Misconfigured
from shared.settings import settings

SUFFIXES = (".html", ".htm")


def report_command(paths: Sequence[Path], *, html: Path | None, as_json: bool) -> None:
    """Run the command; see `s2s report --help`. A page that cannot be written is reported before any work."""
    if html:
        check_writable(html, SUFFIXES)
    lines = [line for path in paths for line in read_metrics(path)]
    summary = summarized(lines)
    if as_json:
        print_json(summary)
        return
    if html:
        page = report_page(lines, summary, _costs(lines), [path.name for path in paths])
        _write_whole(html, page)
        turns = f"{summary.turns:,} turn{'' if summary.turns == 1 else 's'}"
        Console(soft_wrap=True).print(f"Wrote {html} ({turns}).", markup=False, highlight=False)
        return
    Console().print(summary_table(summary))


def _costs(lines: Sequence[MetricsLine]) -> Costs:
    """By the prices, the selection and the settings of now; a selection that cannot be deployed has none."""
    try:
        prices = read_prices(PRICES)
        deployments = priced_deployments(settings(), prices)
    except Misconfigured as error:
        return Costs(problem=f"What it would cost is not known: {error.message}")
    past = past_of_metrics(lines)
    costs = [cost_of(past, deployment) for deployment in deployments]
    four = deployments[0]
    taken = [*assumptions.of_past(costs, four), *assumptions.of_both(four, settings(), prices)]
    return Costs(costs, taken)


def _write_whole(path: Path, page: str) -> None:
    """Write the file, or leave what was there. Raises OutputNotWritten."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with write_errors(path):
        try:
            part.write_text(page, encoding="utf-8")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
