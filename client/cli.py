"""The command `s2s`. What a command needs is imported when it runs, so that help comes at once."""

import signal
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from client.cli_options import AsJson, ReportingCommand, TargetOption
from client.cloud.cli import operator_commands
from client.targets import Target

app = typer.Typer(
    name="s2s",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A voice service of your own: speech in, speech out.\n\n"
    "Try: s2s turn examples/what-is-two-plus-two.mp3\n\n"
    "Environment variables select models (ASR_MODEL, LLM_MODEL, TTS_MODEL) and change settings: "
    "see 's2s models' and 's2s settings'.",
    epilog="Exit codes: 0 success, 1 internal error, 2 wrong usage, 3 no speech, 4 unusable input, "
    "5 wrong setting or engine not loaded, 6 failed (retrying can help), 7 output not written, "
    "130 interrupted.",
)
_command = partial(app.command, cls=ReportingCommand, rich_help_panel="Talk")
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
        from client.errors import reported_errors
        from shared.settings import settings

        with reported_errors(as_json=False):
            from local_cloud.env_file import use_running_local_cloud

            use_running_local_cloud()
        settings.cache_clear()  # what was read before may be chosen by these variables
        context.default_map = {
            name: {"target": "modal"} for name in ("turn", "talk", "serve", "fetch-weights")
        }
    if version:
        from importlib.metadata import version as installed_version

        typer.echo(f"speech-to-speech {installed_version('speech-to-speech')}")
        raise typer.Exit


@_command()
def turn(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A recording of one question; - is stdin.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="The spoken reply: .mp3 or .wav; - is stdout."),
    ] = Path("output.mp3"),
    target: TargetOption = Target.LOCAL,
    system: System = None,
    as_json: AsJson = False,
    play: Annotated[bool, typer.Option("--play", help="Also play the reply as it arrives.")] = False,
    output_device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Play it on this loudspeaker: part of its name.")
    ] = None,
) -> None:
    """Answer one spoken question: recording in, spoken reply out.

    Any audio format will do (m4a, webm and the like need ffmpeg). Examples:

    s2s turn question.wav -o answer.mp3

    arecord -f S16_LE -r 16000 -d 4 | s2s turn - --play
    """
    if as_json and output == Path("-"):
        raise typer.BadParameter("--json and --output - cannot be combined.")
    from client.commands.turn import turn_command

    turn_command(
        source,
        output,
        target=target,
        system=system,
        as_json=as_json,
        play=play or output_device is not None,
        output_device=output_device,
    )


@_command()
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
            help="Cancel loudspeaker echo. Not needed with headphones.",
        ),
    ] = True,
    noise_suppression: Annotated[
        bool, typer.Option("--denoise/--no-denoise", help="Suppress the microphone's background noise.")
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
    from client.audio.talk_audio import AudioOptions
    from client.commands.talk import TalkOptions, talk_command

    talk_command(
        TalkOptions(
            target=target,
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


@_command()
def report(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Files of 's2s talk --metrics'; their conversations add up."),
    ],
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a page with plots here, which needs no network."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show again where the time of conversations went, as a table or as a page. Examples:

    s2s report metrics.jsonl

    s2s report monday.jsonl tuesday.jsonl --html report.html
    """
    if html and as_json:
        raise typer.BadParameter("--html and --json cannot be combined.")
    from client.commands.report import report_command

    report_command(paths, html=html, as_json=as_json)


@_command()
def devices(as_json: AsJson = False) -> None:
    """List microphones and loudspeakers."""
    from client.commands.devices import devices_command

    devices_command(as_json=as_json)


@_command()
def serve(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; other machines need S2S_API_KEYS.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Where to listen; 0 takes a free one.")] = 8000,
    target: TargetOption = Target.LOCAL,
) -> None:
    """Serve the OpenAI Realtime protocol and a page to talk with, until Ctrl-C.

    Any OpenAI client can use it. Examples:

    s2s serve

    S2S_API_KEYS=... s2s serve --host 0.0.0.0 --target modal
    """
    from client.commands.serve import serve_command

    serve_command(host, port, target)


app.add_typer(operator_commands)


def main() -> None:
    """The console script. SIGTERM and SIGHUP end a command as Ctrl-C does: with its summary and its files."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)
    app(prog_name="s2s")


def _interrupt(_number: int, frame: FrameType | None) -> None:
    on_ctrl_c = signal.getsignal(signal.SIGINT)
    if not callable(on_ctrl_c):  # ignored, as in a background job
        raise KeyboardInterrupt
    on_ctrl_c(signal.SIGINT, frame)
