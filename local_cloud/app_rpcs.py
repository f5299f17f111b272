"""Requests about apps: created, published, listed, stopped."""

import time

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2 as pb

from local_cloud.events import Kind
from local_cloud.layout import app_layout
from local_cloud.scheduler import Scheduler
from local_cloud.state import App, State, found, not_found


class AppRpcs:
    """Serves what `modal deploy`, `modal run` and `modal app` ask about apps."""

    def __init__(self, state: State, scheduler: Scheduler) -> None:
        self._state = state
        self._scheduler = scheduler

    async def app_create(self, request: pb.AppCreateRequest) -> pb.AppCreateResponse:
        app = App(self._state.new_id("ap"), request.description, request.app_state)
        self._state.apps[app.id] = app
        return pb.AppCreateResponse(app_id=app.id, app_page_url=_page(app))

    async def app_get_or_create(self, request: pb.AppGetOrCreateRequest) -> pb.AppGetOrCreateResponse:
        app = self._state.deployed(request.app_name)
        if app is None:
            if request.object_creation_type != pb.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
                raise not_found(f"App '{request.app_name}' is not deployed")
            app = App(self._state.new_id("ap"), request.app_name, pb.APP_STATE_DEPLOYED)
            self._state.apps[app.id] = app
        return pb.AppGetOrCreateResponse(app_id=app.id)

    async def app_get_by_deployment_name(
        self, request: pb.AppGetByDeploymentNameRequest
    ) -> pb.AppGetByDeploymentNameResponse:
        response = pb.AppGetByDeploymentNameResponse(environment_name="main")
        if app := self._state.deployed(request.name):
            response.app_id = app.id
        else:
            stopped = [app for app in self._state.apps.values() if app.name == request.name and app.version]
            app = stopped[-1] if stopped else None
            response.previous_app_id = app.id if app else ""
        if app:
            response.lifecycle.CopyFrom(_lifecycle(app))
        return response

    async def app_get_lifecycle(self, request: pb.AppGetLifecycleRequest) -> pb.AppGetLifecycleResponse:
        return pb.AppGetLifecycleResponse(lifecycle=_lifecycle(self._app(request.app_id)))

    async def app_get_layout(self, request: pb.AppGetLayoutRequest) -> pb.AppGetLayoutResponse:
        return pb.AppGetLayoutResponse(app_layout=app_layout(self._state, self._app(request.app_id)))

    async def app_heartbeat(self, request: pb.AppHeartbeatRequest) -> Empty:
        self._app(request.app_id)
        return Empty()

    async def app_publish(self, request: pb.AppPublishRequest) -> pb.AppPublishResponse:
        """Make a set of functions the app's; what runs of an earlier version is replaced."""
        app = self._app(request.app_id)
        app.function_ids, app.class_ids = dict(request.function_ids), dict(request.class_ids)
        app.state, app.name = request.app_state, request.name or app.name
        app.deployed_at, app.version = time.time(), app.version + 1
        app.history.append(
            pb.AppDeploymentHistory(
                app_id=app.id,
                version=app.version,
                client_version=request.client_version,
                deployed_at=app.deployed_at,
                deployed_by="local",
                tag=request.deployment_tag,
                commit_info=request.commit_info,
            )
        )
        self._scheduler.replace(app)
        kind = Kind.DEPLOYED if app.state == pb.APP_STATE_DEPLOYED else Kind.RUNNING
        self._state.logs.event(kind, app.name, f"version {app.version}: {self._contents(app)}")
        return pb.AppPublishResponse(url=_page(app), deployed_at=app.deployed_at)

    async def app_deployment_history(
        self, request: pb.AppDeploymentHistoryRequest
    ) -> pb.AppDeploymentHistoryResponse:
        """Return an app's deployments, the latest first."""
        app = self._app(request.app_id)
        return pb.AppDeploymentHistoryResponse(
            app_deployment_histories=reversed(app.history), production_app_version=app.version
        )

    async def app_client_disconnect(self, request: pb.AppClientDisconnectRequest) -> Empty:
        app = self._app(request.app_id)
        if app.state in (pb.APP_STATE_EPHEMERAL, pb.APP_STATE_INITIALIZING):
            self._scheduler.stop_app(app)
        return Empty()

    async def app_stop(self, request: pb.AppStopRequest) -> Empty:
        self._scheduler.stop_app(self._app(request.app_id))
        return Empty()

    async def app_list(self, request: pb.AppListRequest) -> pb.AppListResponse:
        return pb.AppListResponse(apps=[self._listed(app) for app in self._state.apps.values()])

    def _app(self, app_id: str) -> App:
        return found(self._state.apps, app_id, "App")

    def _contents(self, app: App) -> str:
        functions = [self._state.functions[one] for one in app.function_ids.values()]
        return ", ".join(sorted(f"{one.title} ({one.gpu})" if one.gpu else one.title for one in functions))

    def _listed(self, app: App) -> pb.AppListResponse.AppListItem:
        running = sum(one.function.app is app for one in self._state.containers.values())
        return pb.AppListResponse.AppListItem(
            app_id=app.id,
            name=app.name,
            description=app.name,
            state=app.state,
            created_at=app.created_at,
            stopped_at=app.stopped_at,
            n_running_tasks=running,
        )


def _lifecycle(app: App) -> pb.AppLifecycle:
    return pb.AppLifecycle(
        app_state=app.state,
        created_at=app.created_at,
        deployed_at=app.deployed_at,
        stopped_at=app.stopped_at,
        stopped_by="local" if app.stopped else "",
        version=app.version,
    )


def _page(app: App) -> str:
    return f"http://127.0.0.1/apps/{app.id}"
