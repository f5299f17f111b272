"""Requests about functions and classes: defined, looked up, bound to parameters."""

import hashlib

from modal_proto import api_pb2 as pb

from local_cloud.http_servers import HttpServers
from local_cloud.layout import describe, function_data
from local_cloud.scheduler import Scheduler
from local_cloud.state import Function, State, found, not_found

_SCALING = {
    "concurrency_limit": "max_containers",
    "warm_pool_size": "min_containers",
    "buffer_containers": "buffer_containers",
    "task_idle_timeout_secs": "scaledown_window",
}


class FunctionRpcs:
    """Serves the definition and the look-up of functions and classes."""

    def __init__(self, state: State, scheduler: Scheduler, servers: HttpServers) -> None:
        self._state = state
        self._scheduler = scheduler
        self._servers = servers

    async def function_precreate(self, request: pb.FunctionPrecreateRequest) -> pb.FunctionPrecreateResponse:
        function = self._function(request.app_id, request.existing_function_id)
        return pb.FunctionPrecreateResponse(
            function_id=function.id, handle_metadata=describe(function, request)
        )

    async def function_create(self, request: pb.FunctionCreateRequest) -> pb.FunctionCreateResponse:
        function = self._function(request.app_id, request.existing_function_id)
        function.variants = [one.function for one in request.function_data.ranked_functions]
        function.definition = request.function if request.HasField("function") else function.variants[0]
        handle = describe(function, function.definition)
        if function.definition.is_server:
            urls = [await self._servers.url(function)]
            handle._experimental_flash_urls[:] = function.definition.flash_service_urls[:] = urls
        return pb.FunctionCreateResponse(
            function_id=function.id,
            handle_metadata=handle,
            function=function.definition,
            function_data=function_data(function),
        )

    async def class_create(self, request: pb.ClassCreateRequest) -> pb.ClassCreateResponse:
        class_id = request.existing_class_id or self._state.new_id("cs")
        return pb.ClassCreateResponse(class_id=class_id, handle_metadata=pb.ClassHandleMetadata())

    async def class_get(self, request: pb.ClassGetRequest) -> pb.ClassGetResponse:
        app = self._state.deployed(request.app_name)
        if app is None or request.object_tag not in app.class_ids:
            raise not_found(f"App '{request.app_name}' or its class '{request.object_tag}' not found")
        class_id = app.class_ids[request.object_tag]
        return pb.ClassGetResponse(class_id=class_id, handle_metadata=pb.ClassHandleMetadata())

    async def function_get(self, request: pb.FunctionGetRequest) -> pb.FunctionGetResponse:
        app = self._state.deployed(request.app_name)
        if app is None or request.object_tag not in app.function_ids:
            raise not_found(f"App '{request.app_name}' or its function '{request.object_tag}' not found")
        function = self._state.functions[app.function_ids[request.object_tag]]
        return pb.FunctionGetResponse(
            function_id=function.id, handle_metadata=function.handle, function=function_data(function)
        )

    async def function_bind_params(
        self, request: pb.FunctionBindParamsRequest
    ) -> pb.FunctionBindParamsResponse:
        """Return the pool of a class for one set of parameters and options."""
        base = found(self._state.functions, request.function_id, "Function")
        options = request.function_options.SerializeToString(deterministic=True)
        told = b"\0".join(
            [base.id.encode(), str(base.app.version).encode(), request.serialized_params, options]
        )
        bound_id = f"fu-{hashlib.sha256(told).hexdigest()[:22]}"
        if bound_id not in self._state.functions:
            bound = Function(
                bound_id, base.app, params=request.serialized_params, bound_to_version=base.app.version
            )
            bound.definition.CopyFrom(base.definition)
            bound.handle.CopyFrom(base.handle)
            bound.handle.base_function_id = base.id
            _apply(request.function_options, bound.definition)
            self._state.functions[bound_id] = bound
        handle = self._state.functions[bound_id].handle
        return pb.FunctionBindParamsResponse(bound_function_id=bound_id, handle_metadata=handle)

    async def function_get_current_stats(
        self, request: pb.FunctionGetCurrentStatsRequest
    ) -> pb.FunctionStats:
        function = found(self._state.functions, request.function_id, "Function")
        return pb.FunctionStats(backlog=len(function.queue), num_total_tasks=len(function.containers))

    async def function_update_scheduling_params(
        self, request: pb.FunctionUpdateSchedulingParamsRequest
    ) -> pb.FunctionUpdateSchedulingParamsResponse:
        function = found(self._state.functions, request.function_id, "Function")
        function.definition.autoscaler_settings.MergeFrom(request.settings)
        self._scheduler.scale(function)
        settings = function.definition.autoscaler_settings
        return pb.FunctionUpdateSchedulingParamsResponse(current_settings=settings)

    def _function(self, app_id: str, existing_id: str) -> Function:
        app = found(self._state.apps, app_id, "App")
        function_id = existing_id or self._state.new_id("fu")
        return self._state.functions.setdefault(function_id, Function(function_id, app))


def _apply(options: pb.FunctionOptions, definition: pb.Function) -> None:
    """Lay `with_options` over a definition."""
    for name in ("max_concurrent_inputs", "target_concurrent_inputs", "timeout_secs", "batch_max_size"):
        if options.HasField(name):
            setattr(definition, name, getattr(options, name))
    if options.HasField("resources"):
        definition.resources.MergeFrom(options.resources)
    if options.HasField("retry_policy"):
        definition.retry_policy.CopyFrom(options.retry_policy)
    scaling = definition.autoscaler_settings
    given = {field.name: value for field, value in options.ListFields()}
    for option, setting in _SCALING.items():
        if option in given:
            setattr(scaling, setting, given[option])
    if options.HasField("scheduler_placement"):
        definition.scheduler_placement.CopyFrom(options.scheduler_placement)
    if options.routing_region:
        definition.routing_region = options.routing_region
    if options.replace_secret_ids:
        definition.secret_ids[:] = options.secret_ids
    if options.replace_volume_mounts:
        del definition.volume_mounts[:]
        definition.volume_mounts.extend(options.volume_mounts)
