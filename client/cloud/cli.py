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
    names = "asr, llm, tts, orchestrator, monolith or gateway"
    return typer.Argument(metavar="APP", show_choices=False, help=f"{names}. Default: {default}.")


def _number(help_text: str, at_least: float, at_most: float) -> Any:
    return typer.Option(metavar="N", min=at_least, max=at_most, help=help_text)


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

    The monolith is one app with all three engines on one GPU, in place of four. The gateway is what browsers
    and OpenAI clients reach, before the four.

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


@_deploy()
def cost(
    turns_per_hour: Annotated[float, _number("Turns of all conversations.", 0.01, 1_000_000)] = 60.0,
    turns: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Turns of one conversation.")] = 6,
    utterance_s: Annotated[float, _number("Seconds of an utterance.", 0.1, 120)] = 3.0,
    reply_s: Annotated[float, _number("Seconds of a spoken reply.", 0.1, 600)] = 6.0,
    asr_s: Annotated[float | None, _number("Seconds that ASR works on a turn.", 0, 600)] = None,
    llm_s: Annotated[float | None, _number("Seconds that the LLM works on a turn.", 0, 600)] = None,
    tts_s: Annotated[float | None, _number("Seconds that TTS works on a turn.", 0, 600)] = None,
    cold_start_s: Annotated[float, _number("Seconds of a cold start.", 0, 600)] = 0.0,
    prices: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Prices in place of those that come along.")
    ] = None,
    metrics: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What the turns of this file did cost.")
    ] = None,
    last_hour: Annotated[
        bool, typer.Option("--last-hour", help="What the last hour's turns on Modal did cost.")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show the formulas.")] = False,
    as_json: AsJson = False,
) -> None:
    """Estimate what the selected models cost on Modal, with the settings of now.

    Or what turns did cost: those of 's2s talk --metrics FILE', or of the last hour.
    """
    if (metrics is not None) + last_hour + explain > 1:
        raise typer.BadParameter("--metrics, --last-hour and --explain cannot be combined.")
    if explain and as_json:
        raise typer.BadParameter("--explain and --json cannot be combined.")
    from client.commands.cost import estimate_command, past_command

    if metrics or last_hour:
        past_command(metrics, prices=prices, as_json=as_json)
        return
    from client.cost.estimate import Load

    load = Load(turns_per_hour, turns, utterance_s, reply_s, asr_s, llm_s, tts_s, cold_start_s)
    estimate_command(load, prices=prices, explain=explain, as_json=as_json)


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
