"""Requests about secrets: found, created, listed, deleted."""

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

from local_cloud.state import Secret, State, first, found, not_found


class SecretRpcs:
    """Serves `modal secret` and the secrets that functions ask for."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def secret_get_or_create(
        self, request: pb.SecretGetOrCreateRequest
    ) -> pb.SecretGetOrCreateResponse:
        """Find a secret by name, create one, or make a nameless one for a single deployment."""
        name, how = request.deployment_name, request.object_creation_type
        secret = first(self._state.secrets.values(), lambda one: bool(name) and one.name == name)
        if secret is None:
            if name and how == pb.OBJECT_CREATION_TYPE_UNSPECIFIED:
                raise not_found(f"Secret '{name}' not found")
            secret = self.new_secret(name, dict(request.env_dict))
        elif how == pb.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise GRPCError(Status.ALREADY_EXISTS, f"Secret '{name}' already exists")
        elif how == pb.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS:
            secret.env = dict(request.env_dict)
        missing = sorted(set(request.required_keys) - set(secret.env))
        if missing:
            raise not_found(f"Secret '{name}' is missing {', '.join(missing)}")
        return pb.SecretGetOrCreateResponse(secret_id=secret.id, metadata=_metadata(secret))

    def new_secret(self, name: str, env: dict[str, str]) -> Secret:
        """Publish a secret."""
        secret = Secret(self._state.new_id("st"), name, env)
        self._state.secrets[secret.id] = secret
        return secret

    async def secret_list(self, request: pb.SecretListRequest) -> pb.SecretListResponse:
        response = pb.SecretListResponse(environment_name="main")
        for secret in self._state.secrets.values():
            if secret.name and secret.created_at < request.pagination.created_before:
                at = secret.created_at
                response.items.add(
                    label=secret.name, secret_id=secret.id, created_at=at, metadata=_metadata(secret)
                )
        return response

    async def secret_get_info(self, request: pb.SecretGetInfoRequest) -> pb.SecretGetInfoResponse:
        secret = found(self._state.secrets, request.secret_id, "Secret")
        return pb.SecretGetInfoResponse(metadata=_metadata(secret))

    async def secret_delete(self, request: pb.SecretDeleteRequest) -> Empty:
        """Take a secret's name away; what has been deployed with it keeps it."""
        found(self._state.secrets, request.secret_id, "Secret").name = ""
        return Empty()


def _metadata(secret: Secret) -> pb.SecretMetadata:
    return pb.SecretMetadata(
        name=secret.name,
        keys=sorted(secret.env),
        environment_name="main",
        creation_info=pb.CreationInfo(created_at=secret.created_at, created_by="local"),
    )
