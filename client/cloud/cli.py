"""The commands for deploying and operating."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from client.cli_options import AsJson, ReportingCommand, TargetOption
from client.targets import FOUR_APPS, App, Target

operator_commands = typer.Typer()
_deploy = partial(operator_commands.command, cls=ReportingCommand, rich_help_panel="Deploy")
_operate = partial(operator_commands.command, cls=ReportingCommand, rich_help_panel="Operate")


def _apps(default: str) -> Any:
    names = "asr, llm, tts, orchestrator or monolith"
    return typer.Argument(metavar="APP", show_choices=False, help=f"{names}. Default: {default}.")


FourApps = Annotated[list[App] | None, _apps("the first four")]
AllApps = Annotated[list[App] | None, _apps("all")]


@_deploy()
def models(as_json: AsJson = False) -> None:
    """List the models: what they need, and whether they run here."""
    from client.commands.models import models_command

    models_command(as_json=as_json)


@_deploy("settings")
def list_settings(
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="Only those with this text in their names.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List the settings, their values and where those come from.

    With TEXT, also what each setting is for.
    """
    from client.commands.settings import settings_command

    settings_command(text, as_json=as_json)


@_deploy("fetch-weights")
def fetch_weights(target: TargetOption = Target.LOCAL) -> None:
    """Download the selected models' weights; what is there already is skipped.

    They go to this machine's caches, with those of turn detection, or to the Volume on Modal ('s2s deploy'
    does that too).
    """
    from client.commands.fetch_weights import fetch_weights_here

    if target is Target.LOCAL:
        fetch_weights_here()
    else:
        from client.cloud.deploy import fetch_weights_command  # needs modal

        fetch_weights_command()


@_deploy()
def deploy(apps: FourApps = None) -> None:
    """Deploy apps to Modal, with the models of ASR_MODEL, LLM_MODEL and TTS_MODEL.

    The monolith is one app with all three engines on one GPU, in place of four.

    Models, settings and secrets are checked before anything is deployed.
    """
    from client.cloud.deploy import deploy_command

    deploy_command(apps or FOUR_APPS)


@_deploy()
def smoke(apps: FourApps = None, as_json: AsJson = False) -> None:
    """Check that deployed apps answer: each gets real input, twice (cold and warm).

    The exit code is 0 only if all of them answer.
    """
    from client.cloud.smoke import smoke_command

    smoke_command(apps or FOUR_APPS, as_json=as_json)


@_operate()
def status(as_json: AsJson = False) -> None:
    """Show what is deployed and running, and how the turns of the last hour went.

    It starts no container. The exit code is 0 if the four apps, or the monolith, are deployed.
    """
    from client.cloud.status import status_command

    status_command(as_json=as_json)


@_operate()
def warm(apps: FourApps = None, as_json: AsJson = False) -> None:
    """Start a container of each app that has none, and wait until they are ready."""
    from client.cloud.warm import warm_command

    warm_command(apps or FOUR_APPS, as_json=as_json)


@_operate()
def logs(
    apps: AllApps = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new lines until Ctrl-C.")] = False,
) -> None:
    """Print the last hour's log of deployed apps."""
    from client.cloud.logs import logs_command

    logs_command(apps or list(App), follow=follow)


@_operate()
def stop(
    apps: AllApps = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Stop deployed apps; turns in progress end."""
    from client.cloud.stop import stop_command

    stop_command(apps or list(App), yes=yes)


@_operate("local-cloud")
def local_cloud(
    state: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep volumes here.")] = None,
    cache: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep environments here.")] = None,
) -> None:
    """Run Modal's part on this machine, in the foreground, until Ctrl-C. It needs no account and no GPU.

    In another terminal: s2s --local-cloud deploy, then s2s --local-cloud smoke.
    """
    from shared.errors import Misconfigured

    try:
        from local_cloud.foreground import run
    except ImportError as error:
        raise Misconfigured(f"This needs {error.name}: pip install -e '.[local-cloud]'") from None
    run(state, cache)
