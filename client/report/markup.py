"""Pieces of a page as HTML. All text is escaped here, and nowhere else."""

from collections.abc import Collection, Iterable, Sequence
from html import escape

from client.display.terminal import printable
from client.report.plot import Plot, svg

WIDE_PX, NARROW_PX, CARD_PX = 860, 348, 416
"""Widths of plots: on a screen or paper, on a phone, and of those that stand side by side."""


def text(some: str) -> str:
    """Text from anywhere, of which no character is markup or moves others about."""
    return escape(printable(some))


def table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    texts: Sequence[str] = (),
    sums: Collection[str] = (),
) -> str:
    """A table of figures. Columns of `texts` are aligned left and broken; rows named in `sums` are bold."""
    classes = [' class="text"' if heading in texts else "" for heading in headings]
    head = "".join(f'<th scope="col"{of}>{text(one)}</th>' for one, of in zip(headings, classes, strict=True))
    body = "".join(
        f"<tr{' class=sum' if row[0] in sums else ''}>"
        + "".join(f"<td{of}>{text(cell)}</td>" for cell, of in zip(row, classes, strict=True))
        + "</tr>\n"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'


def figure(plot: Plot | None, remark: str = "") -> str:
    """A plot as wide as the page, and its figures; "" for none."""
    if not plot:
        return ""
    both = f'<div class="wide">{svg(plot, WIDE_PX)}</div><div class="narrow">{svg(plot, NARROW_PX)}</div>'
    return _figure(plot, text(plot.title), both, note(remark))


def card(plot: Plot, heading: str, remark: str = "") -> str:
    """A plot beside others, its heading and a remark on it."""
    aside = f"<small>{text(remark)}</small>" if remark else ""
    return _figure(plot, f"{text(heading)}{aside}", svg(plot, CARD_PX))


def cards(some: Iterable[str]) -> str:
    """Side by side where there is space; "" for none."""
    together = "".join(some)
    return together and f'<div class="cards">\n{together}</div>\n'


def section(title: str, *content: str, about: str = "") -> str:
    """A part of the page; "" if it would be empty."""
    if not any(content):
        return ""
    return f"<section>\n<h2>{text(title)}</h2>\n{note(about)}{''.join(content)}\n</section>\n"


def note(remark: str) -> str:
    """A remark in a line of its own; "" for none."""
    return f'<p class="note">{text(remark)}</p>\n' if remark else ""


def bullets(sentences: Iterable[str]) -> str:
    """A list of remarks; "" for none."""
    items = "".join(f"<li>{text(one)}</li>\n" for one in sentences)
    return items and f"<ul>\n{items}</ul>"


def tile(name: str, value: str, remark: str = "") -> str:
    """A headline figure."""
    return f"<div><dt>{text(name)}</dt><dd>{text(value)}<small>{text(remark)}</small></dd></div>\n"


def _figure(plot: Plot, heading: str, drawing: str, about: str = "") -> str:
    figures = f"<details><summary>Figures</summary>{table(plot.headings, plot.rows)}</details>"
    return f'<figure id="{text(plot.name)}">\n<h3>{heading}</h3>{about}\n{drawing}\n{figures}\n</figure>\n'
