"""How tables look."""

from rich import box
from rich.table import Table


def plain_table(*, between_rows: int = 0) -> Table:
    """A table without columns yet: headings over a rule, no other lines."""
    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, between_rows, 0), pad_edge=False)
