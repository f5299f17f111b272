"""What commands print on a terminal."""

from rich import box
from rich.table import Table


def plain_table(*, between_rows: int = 0) -> Table:
    """A table without columns yet: headings over a rule, no other lines."""
    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, between_rows, 0), pad_edge=False)


def printable(text: str) -> str:
    """The text without the control characters that could move a terminal's cursor or change its state."""
    return "".join(character for character in text if character.isprintable() or character == "\n")
