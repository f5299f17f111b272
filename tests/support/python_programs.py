"""Python programs in processes that start with the libraries imported: most of what a short command costs is
their import. The project's own modules are imported by each process anew."""

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from unittest import mock

from tests.support.waiting import GIVE_UP_S

LIBRARIES = ("modal.cli.entry_point", "modal.runner", "numpy", "pydantic_settings", "rich.console", "typer")


def run_python(
    arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout_s: float = GIVE_UP_S
) -> subprocess.CompletedProcess[str]:
    """Run `python -c CODE` or `python -m MODULE`, with arguments, to its end. Its standard input is empty.

    Raises TimeoutExpired, and kills it, if that takes longer than `timeout_s`.
    """
    with tempfile.TemporaryDirectory() as folder:
        stdout, stderr = (Path(folder) / name for name in ("stdout", "stderr"))
        process = _context().Process(
            target=_run, args=(tuple(arguments), str(cwd), dict(env), str(stdout), str(stderr))
        )
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([*arguments], timeout_s, stdout.read_text(), stderr.read_text())
        told = [file.read_text() if file.exists() else "" for file in (stdout, stderr)]
        return subprocess.CompletedProcess([*arguments], process.exitcode, *told)


@cache
def _context() -> ForkServerContext:
    """That of the process from which all are forked, which has no threads; it ends with this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*LIBRARIES])
    # Modal's library reads the account's file when it is imported.
    with mock.patch.dict(os.environ, MODAL_CONFIG_PATH=os.devnull, MODAL_PROFILE=""):
        forkserver.ensure_running()
    return context


def _run(arguments: tuple[str, ...], cwd: str, env: dict[str, str], stdout: str, stderr: str) -> None:
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, stdout, os.O_WRONLY | os.O_CREAT),
        (2, stderr, os.O_WRONLY | os.O_CREAT),
    ):
        os.dup2(os.open(path, flags), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path[:0] = [cwd, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    option, program, *rest = arguments
    sys.argv = [option, *rest]
    try:
        if option == "-m":
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
    finally:
        atexit._run_exitfuncs()
