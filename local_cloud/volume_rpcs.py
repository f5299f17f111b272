"""Requests about volumes: created, listed, deleted, and the files in them."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

from local_cloud.blobs import BlobStore
from local_cloud.state import State, Volume, first, found, not_found

BLOCK_BYTES = 8 << 20  # of a file, by the client's reckoning


class VolumeRpcs:
    """Serves `modal volume` and the volumes that functions ask for."""

    def __init__(self, state: State, blobs: BlobStore) -> None:
        self._state = state
        self._blobs = blobs

    async def volume_get_or_create(
        self, request: pb.VolumeGetOrCreateRequest
    ) -> pb.VolumeGetOrCreateResponse:
        name, how = request.deployment_name, request.object_creation_type
        volume = first(self._state.volumes.values(), lambda one: bool(name) and one.name == name)
        if volume is None:
            if name and how == pb.OBJECT_CREATION_TYPE_UNSPECIFIED:
                raise not_found(f"Volume '{name}' not found")
            volume = self.new_volume(name)
        elif how == pb.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise GRPCError(Status.ALREADY_EXISTS, f"Volume '{name}' already exists")
        metadata = _metadata(volume, request.version)
        return pb.VolumeGetOrCreateResponse(volume_id=volume.id, version=request.version, metadata=metadata)

    def new_volume(self, name: str) -> Volume:
        """Make a volume; a named one finds what it had if the state folder outlived the control plane."""
        volume_id = self._state.new_id("vo")
        folder = self._state.folder / "volumes" / (name or volume_id)
        folder.mkdir(parents=True, exist_ok=True)
        self._state.volumes[volume_id] = Volume(volume_id, name, folder)
        return self._state.volumes[volume_id]

    async def volume_list(self, request: pb.VolumeListRequest) -> pb.VolumeListResponse:
        response = pb.VolumeListResponse(environment_name="main")
        for one in self._state.volumes.values():
            if one.name and one.created_at < request.pagination.created_before:
                metadata = _metadata(one)
                response.items.add(
                    label=one.name, volume_id=one.id, created_at=one.created_at, metadata=metadata
                )
        return response

    async def volume_delete(self, request: pb.VolumeDeleteRequest) -> Empty:
        volume = self._volume(request.volume_id)
        volume.name = ""
        shutil.rmtree(volume.folder, ignore_errors=True)
        return Empty()

    async def volume_commit(self, request: pb.VolumeCommitRequest) -> pb.VolumeCommitResponse:
        return pb.VolumeCommitResponse(skip_reload=True)

    async def volume_reload(self, request: pb.VolumeReloadRequest) -> Empty:
        return Empty()

    async def volume_put_files(self, request: pb.VolumePutFilesRequest) -> Empty:
        """Put files that have been sent like a mount's."""
        for file in request.files:
            target = self._path(request.volume_id, file.filename)
            if target.exists() and request.disallow_overwrite_existing_files:
                raise GRPCError(Status.ALREADY_EXISTS, f"{file.filename} already exists")
        for file in request.files:
            target = self._path(request.volume_id, file.filename)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._state.files / file.sha256_hex, target)
        return Empty()

    async def volume_list_files(
        self, request: pb.VolumeListFilesRequest
    ) -> AsyncIterator[pb.VolumeListFilesResponse]:
        """Yield a file's or a folder's entries, all at once."""
        top, root = self._existing(request.volume_id, request.path), self._volume(request.volume_id).folder
        paths = [top] if top.is_file() else sorted(top.rglob("*") if request.recursive else top.iterdir())
        yield pb.VolumeListFilesResponse(entries=[_entry(path, root) for path in paths])

    async def volume_get_file2(self, request: pb.VolumeGetFile2Request) -> pb.VolumeGetFile2Response:
        """Say where each block of a file can be fetched."""
        path = self._existing(request.volume_id, request.path)
        if not path.is_file():
            raise not_found(f"{request.path} is not a file")
        size = path.stat().st_size
        urls = [self._blobs.offer(path, start, BLOCK_BYTES) for start in range(0, size, BLOCK_BYTES)]
        return pb.VolumeGetFile2Response(get_urls=urls, size=size, start=0, len=size)

    async def volume_remove_file(self, request: pb.VolumeRemoveFileRequest) -> Empty:
        path = self._existing(request.volume_id, request.path)
        if not path.is_dir():
            path.unlink()
        elif request.recursive:
            shutil.rmtree(path)
        else:
            raise GRPCError(Status.INVALID_ARGUMENT, f"{request.path} is a folder: remove it recursively")
        return Empty()

    def _volume(self, volume_id: str) -> Volume:
        return found(self._state.volumes, volume_id, "Volume")

    def _path(self, volume_id: str, path: str) -> Path:
        folder = self._volume(volume_id).folder.resolve()
        target = (folder / path.lstrip("/")).resolve()
        if not target.is_relative_to(folder):
            raise GRPCError(Status.INVALID_ARGUMENT, f"{path} lies outside of the volume")
        return target

    def _existing(self, volume_id: str, path: str) -> Path:
        target = self._path(volume_id, path)
        if not target.exists():
            raise not_found(f"{path}: no such file or folder")
        return target


def _metadata(
    volume: Volume, version: "pb.VolumeFsVersion.ValueType" = pb.VOLUME_FS_VERSION_UNSPECIFIED
) -> pb.VolumeMetadata:
    created = pb.CreationInfo(created_at=volume.created_at, created_by="local")
    return pb.VolumeMetadata(version=version, name=volume.name, creation_info=created)


def _entry(path: Path, root: Path) -> pb.FileEntry:
    about = path.stat()
    kind = pb.FileEntry.DIRECTORY if path.is_dir() else pb.FileEntry.FILE
    relative = path.relative_to(root.resolve()).as_posix()
    return pb.FileEntry(path=relative, type=kind, mtime=int(about.st_mtime), size=about.st_size)
