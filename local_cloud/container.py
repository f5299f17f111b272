"""One container: a process of its own, started through Modal's own entry point."""

import asyncio
import contextlib
import json
import os
import signal
import socket as sockets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpclib.server
from modal_proto import api_pb2 as pb

from local_cloud.events import Signal
from local_cloud.state import Function, Input, number_of

HEARTBEAT_S = 60.0  # cancellations ride on heartbeats, which are answered late: long ones have few gaps
INHERITED = ("PATH", "LANG", "LC_ALL", "HOME", "TMPDIR", "TZ", "LD_LIBRARY_PATH")
ENTRY_POINT = ("-m", "modal._container_entrypoint")
# On Linux the kernel kills the container when the local cloud ends, however it ends; if that was before it
# could ask for it, the container ends itself.
_LAUNCH = (
    "import ctypes, os, sys; getattr(ctypes.CDLL(None), 'prctl', max)(1, 9); "
    "os.getppid() == int(sys.argv[1]) or os._exit(1); os.execv(sys.argv[2], sys.argv[2:])"
)


@dataclass(eq=False)
class Container:
    """One container of a function, from its start to the end of its process."""

    id: str
    function: Function
    folder: Path
    running: dict[str, Input] = field(default_factory=dict)
    to_cancel: list[str] = field(default_factory=list)
    changed: Signal = field(default_factory=Signal)
    created_at: float = field(default_factory=time.time)
    started_at: float = 0.0  # of the process, by the monotonic clock; 0 while its environment is made
    last_used_at: float = 0.0
    ready: bool = False
    asking: bool = False  # for an input
    stopping: bool = False
    stopped_at: float = 0.0
    interrupted: bool = False  # stopped although it had inputs: no crash
    asked_to_cancel: bool = False
    start_timed_out: bool = False
    result: pb.GenericResult | None = None
    process: asyncio.subprocess.Process | None = None
    http_port: int = 0  # of a server: where it is to listen
    connections: int = 0  # of a server
    _server: grpclib.server.Server | None = None

    @property
    def title(self) -> str:
        """Its function's name, and its number."""
        return f"{self.function.title}, container {number_of(self.id)}"

    @property
    def snapshots(self) -> bool:
        """Whether it goes through checkpoint and restore, which only deployed apps do."""
        return (
            self.function.definition.checkpointing_enabled
            and self.function.app.state == pb.APP_STATE_DEPLOYED
        )

    @property
    def restore_file(self) -> Path:
        """The file that the container waits for: it appears once the container is restored."""
        return self.folder / "restore.json"

    def restore(self) -> None:
        """Let it go on, as if from a snapshot: it reads the file the moment it is there, so whole."""
        whole = self.restore_file.with_suffix(".written")
        whole.write_text(json.dumps({"task_id": self.id}))
        whole.rename(self.restore_file)

    def stop(self) -> None:
        """Let it finish its inputs, run its exit methods and end."""
        if not self.stopping:
            self.stopping, self.stopped_at = True, time.monotonic()
            if self.function.definition.is_server:
                self._signal(signal.SIGTERM, group=False)
        self.function.changed.notify()
        self.changed.notify()

    def interrupt(self) -> None:
        """Ask it to end now: its exit methods still run."""
        self.interrupted = True
        self.stop()
        self._signal(signal.SIGINT, group=False)

    def kill(self) -> None:
        """End its process and all that it has started, at once."""
        self._signal(signal.SIGKILL, group=True)

    def _signal(self, number: signal.Signals, *, group: bool) -> None:
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self.process.pid, number)

    async def launch(
        self,
        interpreter: Path,
        arguments: pb.ContainerArguments,
        env: Mapping[str, str],
        socket: Path,
        server: grpclib.server.Server,
    ) -> None:
        """Start the process. It has a socket of its own, which identifies its requests."""
        if self.function.definition.is_server:
            self.http_port = _free_port()
        self._server = server
        await server.start(path=str(socket))
        arguments_file = self.folder / "arguments.bin"
        arguments_file.write_bytes(arguments.SerializeToString())
        home = self.folder / "fs" / "root"
        self.process = await asyncio.create_subprocess_exec(
            *(str(interpreter), "-I", "-S", "-c", _LAUNCH, str(os.getpid()), str(interpreter), *ENTRY_POINT),
            env={**env, **self._own_env(arguments_file, socket, home)},
            cwd=home,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self.started_at = time.monotonic()

    async def wait(self, on_line: Callable[[str, "pb.FileDescriptor.ValueType"], None]) -> int:
        """Emit each line it prints until it ends; return its exit status."""
        assert self.process is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        printing = [
            asyncio.ensure_future(_each_line(self.process.stdout, pb.FILE_DESCRIPTOR_STDOUT, on_line)),
            asyncio.ensure_future(_each_line(self.process.stderr, pb.FILE_DESCRIPTOR_STDERR, on_line)),
        ]
        try:
            status = await self.process.wait()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)  # what it started and left
            await asyncio.wait(printing, timeout=1)
            return status
        finally:
            for task in printing:
                task.cancel()

    async def close(self) -> None:
        """Stop listening to it."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._server.wait_closed(), 1)

    def _own_env(self, arguments_file: Path, socket: Path, home: Path) -> dict[str, str]:
        own = {
            "MODAL_IS_REMOTE": "1",
            "MODAL_SERVER_URL": f"unix://{socket}",
            "MODAL_TASK_ID": self.id,
            "MODAL_IMAGE_ID": self.function.definition.image_id,
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(arguments_file),
            "MODAL_ENVIRONMENT": "main",
            "MODAL_CLOUD_PROVIDER": "CLOUD_PROVIDER_LOCAL",
            "MODAL_REGION": "local",
            "MODAL_HEARTBEAT_INTERVAL": str(HEARTBEAT_S),
            "MODAL_CONFIG_PATH": os.devnull,
            "PYTHONUNBUFFERED": "1",
            **({"PORT": str(self.http_port)} if self.http_port else {}),
            "PYTHONPATH": str(home),
        }
        if self.snapshots:
            own["MODAL_ENABLE_SNAP_RESTORE"] = "1"
            own["MODAL_RESTORE_STATE_PATH"] = str(self.restore_file)
        return own


def _free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def _each_line(
    reader: asyncio.StreamReader,
    stream: "pb.FileDescriptor.ValueType",
    on_line: Callable[[str, "pb.FileDescriptor.ValueType"], None],
) -> None:
    rest = b""
    while chunk := await reader.read(65536):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            on_line(line.decode(errors="replace") + "\n", stream)
    if rest:
        on_line(rest.decode(errors="replace") + "\n", stream)
