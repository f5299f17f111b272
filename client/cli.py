"""The command `s2s`. What a command needs is imported when it runs, so that help comes at once."""

import signal
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from shared.errors import Stage

app = typer.Typer(
    name="s2s",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "A voice service of your own: speech in, speech out.\n\n"
        "Try: s2s turn examples/what-is-two-plus-two.mp3\n\n"
        "Models are chosen by the environment variables ASR_MODEL, LLM_MODEL and TTS_MODEL, from the "
        "names that 's2s models' lists."
    ),
    epilog=(
        "Exit codes: 0 answered, 1 internal error, 2 wrong usage, 3 nobody spoke, 4 unusable input, "
        "5 wrong setting or engine not loaded, 6 turn failed (try again), 7 output not written, "
        "130 interrupted."
    ),
)


class Target(StrEnum):
    """This machine, or Modal."""

    LOCAL = "local"
    MODAL = "modal"


class TurnTarget(StrEnum):
    """Where turns are played: MONOLITH is the variant with all in one container."""

    LOCAL = "local"
    MODAL = "modal"
    MONOLITH = "monolith"


ALL_APPS = [Stage.ASR, Stage.LLM, Stage.TTS, Stage.ORCHESTRATOR]
Apps = Annotated[
    list[Stage] | None, typer.Argument(metavar="[asr|llm|tts|orchestrator]...", help="Which; default all.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for scripts.")]


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed_version

        typer.echo(f"speech-to-speech {installed_version('speech-to-speech')}")
        raise typer.Exit


@app.command()
def turn(
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="A recording of one question, or - for standard input.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Where the spoken reply goes: .mp3, .wav, or - for MP3 on standard output."
        ),
    ] = Path("output.mp3"),
    target: Annotated[
        TurnTarget,
        typer.Option("--target", help="Engines in this process, the deployed services, or the monolith."),
    ] = TurnTarget.LOCAL,
    system: Annotated[
        str | None, typer.Option("--system", help="What the assistant is told about how to answer.")
    ] = None,
    as_json: AsJson = False,
    play: Annotated[bool, typer.Option("--play", help="Also play the reply, as it comes.")] = False,
    output_device: Annotated[
        str | None,
        typer.Option("--output-device", help="Play it on this loudspeaker, by a part of its name."),
    ] = None,
) -> None:
    """Answer one spoken question: recording in, spoken reply out.

    Any audio format will do (m4a, webm and the like need ffmpeg). Examples:

    s2s turn question.wav -o answer.mp3

    arecord -f S16_LE -r 16000 -d 4 | s2s turn - --play
    """
    if as_json and output == Path("-"):
        raise typer.BadParameter("--json and --output - cannot be combined.")
    from client.commands.turn import TurnOptions, turn_command

    turn_command(
        TurnOptions(
            source=source,
            output=output,
            target=target.value,
            system=system,
            as_json=as_json,
            play=play or output_device is not None,
            output_device=output_device,
        )
    )


@app.command()
def report(
    path: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="What 's2s talk --metrics FILE' wrote; several sessions add up."),
    ],
    as_json: AsJson = False,
) -> None:
    """Print the summary of a session again: where its time went."""
    from client.commands.report import report_command

    report_command(path, as_json=as_json)


@app.command()
def talk(
    target: Annotated[
        TurnTarget,
        typer.Option("--target", help="Engines in this process, the deployed services, or the monolith."),
    ] = TurnTarget.LOCAL,
    input_device: Annotated[
        str | None,
        typer.Option("--input-device", help="The microphone, by a part of its name ('s2s devices')."),
    ] = None,
    output_device: Annotated[
        str | None, typer.Option("--output-device", help="The loudspeaker, by a part of its name.")
    ] = None,
    input_wav: Annotated[
        str | None,
        typer.Option(
            "--input-wav", metavar="FILE", help="A recording instead of the microphone; any format."
        ),
    ] = None,
    output_wav: Annotated[
        Path | None, typer.Option("--output-wav", metavar="FILE", help="A file instead of the loudspeaker.")
    ] = None,
    speculation: Annotated[
        bool,
        typer.Option(
            "--speculation/--no-speculation", help="Begin to answer at the first pause, before it is certain."
        ),
    ] = True,
    echo_cancellation: Annotated[
        bool,
        typer.Option(
            "--echo-cancellation/--no-echo-cancellation",
            help="Cancel loudspeaker echo. Not needed with headphones.",
        ),
    ] = True,
    noise_suppression: Annotated[
        bool,
        typer.Option(
            "--noise-suppression/--no-noise-suppression", help="Suppress the microphone's background noise."
        ),
    ] = True,
    system: Annotated[
        str | None, typer.Option("--system", help="What the assistant is told about how to answer.")
    ] = None,
    metrics: Annotated[
        Path | None,
        typer.Option("--metrics", metavar="FILE", help="Add a line of JSON for each turn; see 's2s report'."),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="DIR", help="Keep each turn's sound, texts and times in a folder."),
    ] = None,
) -> None:
    """Talk with the assistant, until Ctrl-C; then a summary says where the time went.

    Speak while it speaks to interrupt it. Examples:

    s2s talk

    s2s talk --input-wav questions.wav --output-wav answers.wav
    """
    for end, device, file in (("input", input_device, input_wav), ("output", output_device, output_wav)):
        if device and file:
            raise typer.BadParameter(f"--{end}-device and --{end}-wav cannot be combined.")
    from client.audio.talk_audio import AudioOptions
    from client.commands.talk import TalkOptions, talk_command

    talk_command(
        TalkOptions(
            target=target.value,
            audio=AudioOptions(
                input_device=input_device,
                output_device=output_device,
                input_wav=input_wav,
                output_wav=output_wav,
                cancel_echo=echo_cancellation,
                suppress_noise=noise_suppression,
            ),
            speculative=speculation,
            system=system,
            metrics=metrics,
            save=save,
        )
    )


@app.command()
def models(as_json: AsJson = False) -> None:
    """List the models that can be selected, what they need, and whether they can run here."""
    from client.commands.models import models_command

    models_command(as_json=as_json)


@app.command()
def devices(as_json: AsJson = False) -> None:
    """List the microphones and loudspeakers of this machine, by the names that choose them."""
    from client.commands.devices import devices_command

    devices_command(as_json=as_json)


@app.command("fetch-weights")
def fetch_weights(
    target: Annotated[
        Target, typer.Option("--target", help="This machine's Hugging Face cache, or the Volume on Modal.")
    ] = Target.LOCAL,
) -> None:
    """Fetch what the selected models need of the model hub. What is there is not fetched again."""
    if target is Target.MODAL:
        _check_modal_is_installed()
    from client.commands.fetch_weights import fetch_weights_command

    fetch_weights_command(on_modal=target is Target.MODAL)


@app.command()
def deploy(
    apps: Apps = None,
    monolith: Annotated[
        bool, typer.Option("--monolith", help="Instead of them, one app with all of it on one GPU.")
    ] = False,
) -> None:
    """Deploy the apps to your Modal account, with the models that ASR_MODEL, LLM_MODEL and TTS_MODEL name.

    What is wrong with a selection or a setting is found out before anything is deployed.
    """
    _check_modal_is_installed()
    from client.commands.deploy import deploy_command, deploy_monolith_command

    if monolith and apps:
        raise typer.BadParameter("--monolith is deployed instead of the apps, not with some of them.")
    if monolith:
        deploy_monolith_command()
    else:
        deploy_command(apps or ALL_APPS)


@app.command()
def smoke(apps: Apps = None, as_json: AsJson = False) -> None:
    """Have each deployed app answer real input, twice: the first call may meet a cold start.

    The exit code is 0 only if every one of them answered.
    """
    _check_modal_is_installed()
    from client.commands.smoke import smoke_command

    smoke_command(apps or ALL_APPS, as_json=as_json)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show what is deployed and runs, and how the turns of the last hour went.

    It starts no container. The exit code is 0 if all four apps are deployed, or the monolith.
    """
    _check_modal_is_installed()
    from client.commands.status import status_command

    status_command(as_json=as_json)


@app.command()
def warm(as_json: AsJson = False) -> None:
    """Start a container of each app that has none, all at once, and wait until they can work."""
    _check_modal_is_installed()
    from client.commands.warm import warm_command

    warm_command(as_json=as_json)


@app.command()
def stop(
    apps: Apps = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Take the apps off Modal, the monolith too if none is named; turns under way end."""
    _check_modal_is_installed()
    from client.commands.stop import stop_command
    from shared.deployment import APPS, MONOLITH_APP

    stop_command([APPS[app] for app in apps] if apps else [*APPS.values(), MONOLITH_APP], yes=yes)


def _check_modal_is_installed() -> None:
    from client.cloud.modal_connection import modal_library
    from client.errors import reported_errors

    with reported_errors(as_json=False):
        modal_library()


def main() -> None:
    """The console script. SIGTERM and SIGHUP end a command as Ctrl-C does, with what it writes at its end."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)
    app()


def _interrupt(_number: int, frame: FrameType | None) -> None:
    on_ctrl_c = signal.getsignal(signal.SIGINT)
    if not callable(on_ctrl_c):  # ignored, as in a background job
        raise KeyboardInterrupt
    on_ctrl_c(signal.SIGINT, frame)
