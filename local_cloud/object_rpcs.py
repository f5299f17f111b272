"""Requests about what apps are made of: images, mounts, blobs, secrets."""

import hashlib
import sys

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError
from grpclib import Status as RpcStatus
from modal_proto import api_pb2 as pb

from local_cloud.blobs import BlobStore
from local_cloud.state import Image, Mount, Secret, State, first, found, not_found

IMAGE_BUILDER = "2025.06"
SUCCESS = pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_SUCCESS)


class ObjectRpcs:
    """Serves the creation of everything that functions refer to by id."""

    def __init__(self, state: State, blobs: BlobStore) -> None:
        self._state = state
        self._blobs = blobs

    async def client_hello(self, request: Empty) -> pb.ClientHelloResponse:
        return pb.ClientHelloResponse()

    async def environment_get_or_create(
        self, request: pb.EnvironmentGetOrCreateRequest
    ) -> pb.EnvironmentGetOrCreateResponse:
        settings = pb.EnvironmentSettings(image_builder_version=IMAGE_BUILDER)
        metadata = pb.EnvironmentMetadata(name="main", settings=settings)
        return pb.EnvironmentGetOrCreateResponse(environment_id="en-main", metadata=metadata)

    async def workspace_name_lookup(self, request: Empty) -> pb.WorkspaceNameLookupResponse:
        return pb.WorkspaceNameLookupResponse(workspace_name="local", username="local")

    async def image_get_or_create(self, request: pb.ImageGetOrCreateRequest) -> pb.ImageGetOrCreateResponse:
        """Record one layer: nothing is built before a container needs it."""
        digest = hashlib.sha256(request.image.SerializeToString(deterministic=True)).hexdigest()
        image_id = f"im-{digest[:22]}"
        self._state.images[image_id] = Image(image_id, request.image, request.builder_version)
        python = f"Python {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
        metadata = pb.ImageMetadata(image_builder_version=request.builder_version, python_version_info=python)
        return pb.ImageGetOrCreateResponse(image_id=image_id, result=SUCCESS, metadata=metadata)

    async def mount_batched_check_existence(
        self, request: pb.MountBatchedCheckExistenceRequest
    ) -> pb.MountBatchedCheckExistenceResponse:
        missing = [one for one in request.sha256_hex_hashes if not (self._state.files / one).exists()]
        return pb.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    async def mount_put_file(self, request: pb.MountPutFileRequest) -> pb.MountPutFileResponse:
        """Keep a file by the hash of its content; without content, answer whether it exists."""
        path = self._state.files / request.sha256_hex
        if not path.exists() and request.WhichOneof("data_oneof"):
            data = self._blobs.read(request.data_blob_id) if request.data_blob_id else request.data
            path.write_bytes(data)
        return pb.MountPutFileResponse(exists=path.exists())

    async def mount_get_or_create(self, request: pb.MountGetOrCreateRequest) -> pb.MountGetOrCreateResponse:
        named = request.deployment_name.encode()
        listed = b"".join(sorted(file.SerializeToString(deterministic=True) for file in request.files))
        digest = hashlib.sha256(named or listed).hexdigest()
        mount_id = f"mo-{digest[:22]}"
        self._state.mounts.setdefault(mount_id, Mount(mount_id, list(request.files)))
        metadata = pb.MountHandleMetadata(content_checksum_sha256_hex=digest)
        return pb.MountGetOrCreateResponse(mount_id=mount_id, handle_metadata=metadata)

    async def blob_create(self, request: pb.BlobCreateRequest) -> pb.BlobCreateResponse:
        blob_id = self._blobs.new_id()
        url = self._blobs.url(blob_id)
        return pb.BlobCreateResponse(
            blob_id=blob_id, upload_url=url, blob_ids=[blob_id], upload_urls=pb.UploadUrlList(items=[url])
        )

    async def blob_get(self, request: pb.BlobGetRequest) -> pb.BlobGetResponse:
        if not request.blob_id:
            raise GRPCError(RpcStatus.INVALID_ARGUMENT, "no blob id was given")
        return pb.BlobGetResponse(download_url=self._blobs.url(request.blob_id))


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
            raise GRPCError(RpcStatus.ALREADY_EXISTS, f"Secret '{name}' already exists")
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
