"""What the commands of `s2s` have in common: how they end, and options."""

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from client.targets import Target


class ReportingCommand(TyperCommand):
    """A command whose errors end in a line and an exit code."""

    def invoke(self, context: Any) -> Any:
        """Run the command."""
        from client.errors import reported_errors

        with reported_errors(as_json=context.params.get("as_json", False)):
            return super().invoke(context)


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
_TARGETS = "Where turns run: local (engines in this process), modal (the deployed apps) or monolith."
TargetOption = Annotated[Target, typer.Option(metavar="TARGET", help=_TARGETS)]
