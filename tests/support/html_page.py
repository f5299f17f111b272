"""A page of HTML as its reader gets it."""

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class HtmlPage(HTMLParser):
    """Parsed from its source: the tags that are opened, their attributes, all text, and the tables' cells."""

    source: str
    tags: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    """Tag, name, value."""
    text: str = ""
    tables: list[list[list[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.lasttag in ("td", "th") and self.tables:
            self.tables[-1][-1][-1] += data.strip()

    def rows(self, heading: str) -> dict[str, list[str]]:
        """The first table that has this first heading, by each row's first cell."""
        table = next(table for table in self.tables if table[0][0] == heading)
        return {row[0]: row[1:] for row in table[1:]}
