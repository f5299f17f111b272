"""The command `s2s`. What a command needs is imported when it runs, so that help comes at once."""

from pathlib import Path
from typing import Annotated

import typer

from client.targets import FOUR_APPS, App, Target

app = typer.Typer(
    name="s2s",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "A voice service of your own: speech in, speech out.\n\n"
        "Try: s2s turn examples/what-is-two-plus-two.mp3\n\n"
        "Environment variables select the models (ASR_MODEL, LLM_MODEL, TTS_MODEL) and change the settings: "
        "see 's2s models' and 's2s settings'."
    ),
    epilog=(
        "Exit codes: 0 success, 1 internal error, 2 wrong usage, 3 no speech, 4 unusable input, "
        "5 wrong setting or engine not loaded, 6 failed (retrying can help), 7 output not written, "
        "130 interrupted."
    ),
)
_TALK, _DEPLOY, _OPERATE = "Talk", "Deploy", "Operate"

_APPS = "asr, llm, tts, orchestrator or monolith"
FourApps = Annotated[
    list[App] | None,
    typer.Argument(metavar="APP", show_choices=False, help=f"{_APPS}. Default: the first four."),
]
AllApps = Annotated[
    list[App] | None, typer.Argument(metavar="APP", show_choices=False, help=f"{_APPS}. Default: all.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
TargetOption = Annotated[
    Target,
    typer.Option(
        metavar="TARGET",
        help="Where turns run: local (engines in this process), modal (the deployed apps) or monolith.",
    ),
]
System = Annotated[str | None, typer.Option(metavar="TEXT", help="The system prompt.")]


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    on_local_cloud: Annotated[
        bool, typer.Option("--local-cloud", help="Use the local cloud that runs on this machine, not Modal.")
    ] = False,
) -> None:
    if on_local_cloud:
        from client.commands.local_cloud import use_local_cloud

        use_local_cloud()
        context.default_map = {name: {"target": "modal"} for name in ("turn", "talk", "fetch-weights")}
    if version:
        from importlib.metadata import version as installed_version

        typer.echo(f"speech-to-speech {installed_version('speech-to-speech')}")
        raise typer.Exit


@app.command(rich_help_panel=_TALK)
def turn(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A recording of one question; - is stdin.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The spoken reply: .mp3 or .wav.")
    ] = Path("output.mp3"),
    target: TargetOption = Target.LOCAL,
    system: System = None,
    as_json: AsJson = False,
    play: Annotated[bool, typer.Option("--play", help="Also play the reply as it arrives.")] = False,
) -> None:
    """Answer one spoken question: recording in, spoken reply out.

    Any audio format will do (m4a, webm and the like need ffmpeg). Examples:

    s2s turn question.wav -o answer.mp3

    arecord -f S16_LE -r 16000 -d 4 | s2s turn - --play
    """
    from client.commands.turn import turn_command

    turn_command(source, output, target=target, system=system, as_json=as_json, play=play)


@app.command(rich_help_panel=_TALK)
def talk(
    target: TargetOption = Target.LOCAL,
    input_device: Annotated[
        str | None, typer.Option(metavar="NAME", help="The microphone: part of its name in 's2s devices'.")
    ] = None,
    output_device: Annotated[
        str | None, typer.Option(metavar="NAME", help="The loudspeaker: part of its name.")
    ] = None,
    input_wav: Annotated[
        str | None, typer.Option(metavar="FILE", help="A recording in place of the microphone; any format.")
    ] = None,
    output_wav: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file in place of the loudspeaker.")
    ] = None,
    speculation: Annotated[
        bool, typer.Option(help="Start the turn at the first pause, before its end is certain.")
    ] = True,
    echo_cancellation: Annotated[
        bool,
        typer.Option(
            "--aec/--no-aec",
            help="Cancel loudspeaker echo and background noise. Not needed with headphones.",
        ),
    ] = True,
    system: System = None,
    metrics: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append a line of JSON per turn, for 's2s report'.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Save each turn's audio, texts and times in a folder.")
    ] = None,
) -> None:
    """Talk with the assistant until Ctrl-C; a summary then shows where the time went.

    Speak while it speaks to interrupt it. Examples:

    s2s talk

    s2s talk --input-wav questions.wav --output-wav answers.wav
    """
    for end, device, file in (("input", input_device, input_wav), ("output", output_device, output_wav)):
        if device and file:
            raise typer.BadParameter(f"--{end}-device and --{end}-wav cannot be combined.")
    from client.audio.talk_audio import SoundOptions
    from client.commands.talk import TalkOptions, talk_command

    talk_command(
        TalkOptions(
            target=target,
            sound=SoundOptions(
                input_device=input_device,
                output_device=output_device,
                input_wav=input_wav,
                output_wav=output_wav,
                cancel_echo=echo_cancellation,
            ),
            speculative=speculation,
            system=system,
            metrics=metrics,
            save=save,
        )
    )


@app.command(rich_help_panel=_TALK)
def report(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="A file of 's2s talk --metrics'; its sessions add up.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show again where the time of conversations went."""
    from client.commands.report import report_command

    report_command(path, as_json=as_json)


@app.command(rich_help_panel=_TALK)
def devices(as_json: AsJson = False) -> None:
    """List microphones and loudspeakers."""
    from client.commands.devices import devices_command

    devices_command(as_json=as_json)


@app.command(rich_help_panel=_DEPLOY)
def models(as_json: AsJson = False) -> None:
    """List the models: what they need, and whether they run here."""
    from client.commands.models import models_command

    models_command(as_json=as_json)


@app.command("settings", rich_help_panel=_DEPLOY)
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


@app.command("fetch-weights", rich_help_panel=_DEPLOY)
def fetch_weights(target: TargetOption = Target.LOCAL) -> None:
    """Download the selected models' weights; cached files are skipped.

    They go to this machine's Hugging Face cache, or to the Volume on Modal ('s2s deploy' does that too).
    """
    on_modal = target is not Target.LOCAL
    if on_modal:
        _check_modal_is_installed()
    from client.commands.fetch_weights import fetch_weights_command

    fetch_weights_command(on_modal=on_modal)


@app.command(rich_help_panel=_DEPLOY)
def deploy(apps: FourApps = None) -> None:
    """Deploy apps to Modal, with the models of ASR_MODEL, LLM_MODEL and TTS_MODEL.

    The monolith is one app with all three engines on one GPU, in place of four.

    Models, settings and secrets are checked before anything is deployed.
    """
    _check_modal_is_installed()
    from client.cloud.deploy import deploy_command

    deploy_command(apps or FOUR_APPS)


@app.command(rich_help_panel=_DEPLOY)
def smoke(apps: FourApps = None, as_json: AsJson = False) -> None:
    """Check that deployed apps answer: each gets real input, twice (cold and warm).

    The exit code is 0 only if all of them answer.
    """
    _check_modal_is_installed(as_json=as_json)
    from client.cloud.smoke import smoke_command

    smoke_command(apps or FOUR_APPS, as_json=as_json)


@app.command(rich_help_panel=_OPERATE)
def status(as_json: AsJson = False) -> None:
    """Show what is deployed and running, and how the turns of the last hour went.

    It starts no container. The exit code is 0 if the four apps, or the monolith, are deployed.
    """
    _check_modal_is_installed(as_json=as_json)
    from client.cloud.status import status_command

    status_command(as_json=as_json)


@app.command(rich_help_panel=_OPERATE)
def warm(apps: FourApps = None, as_json: AsJson = False) -> None:
    """Start a container of each app that has none, and wait until they are ready."""
    _check_modal_is_installed(as_json=as_json)
    from client.cloud.warm import warm_command

    warm_command(apps or FOUR_APPS, as_json=as_json)


@app.command(rich_help_panel=_OPERATE)
def logs(
    apps: AllApps = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new lines until Ctrl-C.")] = False,
) -> None:
    """Print the last hour's log of deployed apps."""
    _check_modal_is_installed()
    from client.cloud.logs import logs_command

    logs_command(apps or list(App), follow=follow)


@app.command(rich_help_panel=_OPERATE)
def stop(
    apps: AllApps = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Stop deployed apps; turns in progress end."""
    _check_modal_is_installed()
    from client.cloud.stop import stop_command

    stop_command(apps or list(App), yes=yes)


@app.command("local-cloud", rich_help_panel=_OPERATE)
def local_cloud(
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep volumes here. Default: until it ends.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the images' virtual environments here.")
    ] = None,
) -> None:
    """Run Modal's part on this machine, in the foreground, until Ctrl-C. It needs no account and no GPU.

    In another terminal: s2s --local-cloud deploy, then s2s --local-cloud smoke.
    """
    from client.commands.local_cloud import local_cloud_command

    local_cloud_command(state, cache)


def _check_modal_is_installed(*, as_json: bool = False) -> None:
    from client.cloud.modal_connection import modal_library
    from client.errors import reported_errors

    with reported_errors(as_json=as_json):
        modal_library()


def main() -> None:
    """The console script."""
    app()
