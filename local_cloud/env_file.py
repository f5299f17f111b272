"""How commands on this machine find the local cloud: a file with its variables, and its identity."""

import asyncio
import fcntl
import ipaddress
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

import grpclib.const
import grpclib.server
from dotenv import dotenv_values
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import StringValue
from grpclib import GRPCError
from grpclib.client import Channel, UnaryUnaryMethod

from shared.errors import Misconfigured

ENV_FILE_VARIABLE = "LOCAL_CLOUD_ENV"
"""The environment variable that names another file than the default."""

DEFAULT_ENV_FILE = Path(__file__).parents[1] / ".local-cloud" / "env"
IDENTIFY_PATH = "/local_cloud/Identify"


def env_file_path() -> Path:
    """Where the file is, on this machine; one for each local cloud."""
    return Path(os.environ.get(ENV_FILE_VARIABLE, DEFAULT_ENV_FILE))


class EnvFile:
    """`export NAME=value` lines, and a lock that the local cloud holds while it runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: TextIO | None = None

    def claim(self) -> None:
        """Take the file for this process. Raises Misconfigured, naming the process that has it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = self.path.with_name(f"{self.path.name}.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise Misconfigured(
                f"A local cloud is running already (process {lock.read()}, {self.path}): end it with Ctrl-C "
                "first."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def write(self, environ: Mapping[str, str]) -> str:
        """Write the variables, all at once; return the text."""
        text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environ.items())
        new = self.path.with_name(f"{self.path.name}.new")
        new.write_text(text)
        new.replace(self.path)
        return text

    def remove(self) -> None:
        """Remove the file and release it; the lock's own file stays, or two processes could hold one."""
        self.path.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()


def use_running_local_cloud() -> None:
    """Point this process to the local cloud. Raises Misconfigured unless it answers itself,
    so that nothing meant for it can reach an account on Modal."""
    variables = dotenv_values(env_file_path(), interpolate=False)
    environ = {name: value for name, value in variables.items() if value is not None}
    url, identity = urlsplit(environ.get("MODAL_SERVER_URL", "")), environ.get("MODAL_TOKEN_ID")
    host = url.hostname or ""
    local = identity and url.port and _is_loopback(host)
    if local and asyncio.run(identity_at(host, url.port or 0)) == identity:
        os.environ.update(environ)
        return
    raise Misconfigured("No local cloud is running. Start it in another terminal: make local-cloud")


def identify_handler(identity: str) -> grpclib.const.Handler:
    """A request handler that answers with the server's identity, which Modal's servers cannot."""

    async def serve(stream: grpclib.server.Stream[Empty, StringValue]) -> None:
        await stream.recv_message()
        await stream.send_message(StringValue(value=identity))

    return grpclib.const.Handler(serve, grpclib.const.Cardinality.UNARY_UNARY, Empty, StringValue)


async def identity_at(host: str, port: int, within_s: float = 5.0) -> str | None:
    """The identity of a server; None if none listens, answers in time or knows the request."""
    channel = Channel(host, port)
    try:
        async with asyncio.timeout(within_s):
            answer = await UnaryUnaryMethod(channel, IDENTIFY_PATH, Empty, StringValue)(Empty())
    except (TimeoutError, OSError, GRPCError, asyncio.IncompleteReadError, ValueError):
        return None
    finally:
        channel.close()
    return str(answer.value)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
