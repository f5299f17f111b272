"""README and docs/, and the Python that they show."""

import re

from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text()
DOCUMENTS = {
    path.relative_to(ROOT): path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]
}
_PYTHON_BLOCKS = [
    block for text in DOCUMENTS.values() for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
]


def block_with(text: str) -> str:
    """The one Python block that has this text in it."""
    (block,) = (str(block) for block in _PYTHON_BLOCKS if text in block)
    return block
