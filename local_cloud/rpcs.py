"""Requests as gRPC brings them, dispatched to the group that serves them."""

import contextlib
import re
import traceback
from collections.abc import Mapping
from typing import Any, cast

import grpclib.const
import grpclib.server
from grpclib import GRPCError, Status
from modal_proto.api_grpc import ModalClientBase

from local_cloud.env_file import IDENTIFY_PATH, identify_handler
from local_cloud.events import Kind
from local_cloud.state import State
from local_cloud.troubles import Troubles


class Rpcs:
    """Groups of request handlers as one gRPC service; what no group knows is UNIMPLEMENTED."""

    def __init__(self, state: State, troubles: Troubles, identity: str, *groups: object) -> None:
        self._state = state
        self._troubles = troubles
        self._identity = identity
        self._groups = groups

    def __mapping__(self) -> Mapping[str, grpclib.const.Handler]:
        known = ModalClientBase.__mapping__(cast(ModalClientBase, _AnyAttribute()))
        served = {
            path: handler._replace(func=self._served(path.rsplit("/", 1)[1], handler.cardinality))
            for path, handler in known.items()
        }
        return {**served, IDENTIFY_PATH: identify_handler(self._identity)}

    def _served(self, name: str, cardinality: grpclib.const.Cardinality) -> Any:
        method_name = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        methods = (getattr(group, method_name, None) for group in self._groups)
        method = next((one for one in methods if one is not None), None)

        async def serve(stream: grpclib.server.Stream[Any, Any]) -> None:
            request = await stream.recv_message()
            await self._troubles.meet(name)
            if method is None:
                self._state.logs.event(Kind.UNKNOWN, "", f"the local cloud does not implement {name}")
                raise GRPCError(Status.UNIMPLEMENTED, f"the local cloud does not implement {name}")
            try:
                if cardinality is grpclib.const.Cardinality.UNARY_STREAM:
                    async with contextlib.aclosing(method(request)) as messages:
                        async for message in messages:
                            await stream.send_message(message)
                else:
                    await stream.send_message(await method(request))
            except GRPCError:
                raise
            except Exception as error:
                for line in traceback.format_exc().splitlines():
                    self._state.logs.event(Kind.ERROR, "", line)
                raise GRPCError(Status.FAILED_PRECONDITION, f"the local cloud: {error!r}") from error

        return serve


class _AnyAttribute:
    """Stands for a service whose handlers are not used."""

    def __getattr__(self, name: str) -> None:
        return None
