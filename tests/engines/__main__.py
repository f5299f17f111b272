"""`python -m tests.engines [GROUP…] [-- PYTEST ARGUMENTS]`: the engines' tests, on their real libraries.

Each group runs in an environment of its own, made from the lock file of its engine; "turn", in which all of
them answer together, in the project's. Environments and built models are kept between runs, in
~/.cache/speech-to-speech/engines or where ENGINES_CACHE says.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from local_cloud.virtual_environments import EnvironmentFailed
from services.weights import fetch
from shared.errors import SpeechError
from tests.engines.environments import GROUPS, Group, environment_of
from tests.support.paths import ROOT

INTERRUPTED = 130

_PYTEST = (
    *("-m", "pytest", "-p", "no:cacheprovider", "--durations=5"),
    *("-W", "default", "--disable-warnings"),  # the engines' libraries warn of many things
    *("-o", "asyncio_default_test_loop_scope=session"),  # an engine is loaded once
    *("-o", "asyncio_default_fixture_loop_scope=session"),
)


def main() -> int:
    """Run the groups one after another, all of them by default; 0 if every test passed."""
    names, pytest_arguments = _arguments()
    results: list[_Result] = []
    try:
        for name in names:
            results.append(_run(GROUPS[name], pytest_arguments))
    except KeyboardInterrupt:
        _tell("Interrupted.")
        return INTERRUPTED
    for result in results:
        _tell(f"{result.name:<12} {'passed' if result.passed else 'FAILED':<8} {result.took_s:6.0f} s")
    return 0 if all(result.passed for result in results) else 1


@dataclass(frozen=True)
class _Result:
    name: str
    passed: bool
    took_s: float


def _arguments() -> tuple[list[str], list[str]]:
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(
        prog="tests.engines", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)} (default: all)")
    groups = parser.parse_args(given[:cut]).groups
    if unknown := [name for name in groups if name not in GROUPS]:
        parser.error(f"no such group: {', '.join(unknown)}. There are: {', '.join(GROUPS)}.")
    return groups or list(GROUPS), given[cut + 1 :]


def _run(group: Group, pytest_arguments: Sequence[str]) -> _Result:
    began_s = time.monotonic()
    try:
        python, environ = _prepared(group)
        for weights in group.weights:
            fetch(weights)
    except (EnvironmentFailed, SpeechError) as error:
        _tell(f"{group.name}: {error}")
        return _Result(group.name, False, time.monotonic() - began_s)
    _tell(f"{group.name}: {' '.join(group.tests)} ({time.monotonic() - began_s:.0f} s to prepare)")
    tests = [str(Path(__file__).parent / name) for name in group.tests]
    code = _wait_for([str(python), *_PYTEST, *tests, *pytest_arguments], environ)
    return _Result(group.name, code == 0, time.monotonic() - began_s)


def _prepared(group: Group) -> tuple[Path, Mapping[str, str]]:
    """The interpreter, and the variables under which it runs."""
    if group.lock is None:
        return Path(sys.executable), os.environ
    environment = environment_of(group.lock)
    if not environment.is_made:
        _tell(f"{group.name}: making its environment from locks/{group.lock} (gigabytes, the first time)")
    return environment.interpreter(quiet=not sys.stderr.isatty()), environment.environ()


def _wait_for(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run it to its end. Ctrl-C is passed on to it, once, so that it can end what it has started."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environ,
        stdin=subprocess.DEVNULL,
        process_group=0,
    )
    with _passed_on_to(process) as interrupted:
        code = process.wait()
    if interrupted:
        raise KeyboardInterrupt
    return code


@contextlib.contextmanager
def _passed_on_to(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """While inside, interruptions go to the process; they are listed."""
    signals: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        signals.append(number)
        process.send_signal(signal.SIGINT)  # what pytest tidies up for

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
