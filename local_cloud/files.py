"""A container's files: what is mounted into it, and where its volumes are."""

import fcntl
import hashlib
import tempfile
from contextlib import ExitStack
from pathlib import Path

from modal_proto import api_pb2 as pb

from local_cloud.state import Function, State, found


def mount_sources(state: State, function: Function, root: Path) -> None:
    """Lay the mounted files (and those copied into the image) under a folder that stands for `/`."""
    (root / "root").mkdir(parents=True)
    mounts = []
    for layer in state.layers(function.definition.image_id):
        mount_id = layer.definition.context_mount_id
        mounts += [
            (mount_id, command.removeprefix("COPY . ").strip().lstrip("/"))
            for command in layer.definition.dockerfile_commands
            if mount_id and command.startswith("COPY . ")
        ]
    mounts += [(mount_id, "") for mount_id in function.definition.mount_ids]
    for mount_id, folder in mounts:
        _lay(state, mount_id, root / folder)
    contents = hashlib.sha256(repr(mounts).encode()).hexdigest()[:24]
    _share_bytecode(root, state.folder / "bytecode" / contents)


def mounted_paths(state: State, function: Function) -> tuple[str, ...]:
    """Return every path that the function's mounts bring, in order."""
    mounts = [found(state.mounts, mount_id, "Mount") for mount_id in function.definition.mount_ids]
    return tuple(sorted(file.filename for mount in mounts for file in mount.files))


def _lay(state: State, mount_id: str, folder: Path) -> None:
    for file in found(state.mounts, mount_id, "Mount").files:
        target = folder / file.filename.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            target.hardlink_to(state.files / file.sha256_hex)
        except OSError:
            target.write_bytes((state.files / file.sha256_hex).read_bytes())


def _share_bytecode(root: Path, bytecode: Path) -> None:
    """Let the containers with these sources compile them once: links to one file are of the same age."""
    for folder in {module.parent for module in root.rglob("*.py")}:
        shared, own = bytecode / folder.relative_to(root), folder / "__pycache__"
        if not own.exists():  # what was mounted with its bytecode keeps it
            shared.mkdir(parents=True, exist_ok=True)
            own.symlink_to(shared)


class VolumeLinks:
    """Volumes at their mount paths: links from there to the volumes' folders, removed at the end.

    All containers of the machine see a link, which on Modal they would not. Where none can be made, as in `/`
    without root, variables that name the path name the folder instead.
    """

    def __init__(self) -> None:
        self._links: dict[Path, Path] = {}
        self._locks = ExitStack()

    def mount(self, state: State, mounts: list[pb.VolumeMount]) -> dict[str, Path]:
        """Put every volume at its path. Returns the folders, by path, of those that cannot be put there."""
        elsewhere = {}
        for mount in mounts:
            folder = found(state.volumes, mount.volume_id, "Volume").folder / mount.sub_path.lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
            if not self._link(Path(mount.mount_path), folder):
                elsewhere[mount.mount_path] = folder
        return elsewhere

    def _link(self, path: Path, folder: Path) -> bool:
        if self._links.get(path) == folder and path.is_symlink():
            return True
        try:
            if path not in self._links:
                self._own(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(folder)
        except OSError:
            return False
        self._links[path] = folder
        return True

    def _own(self, path: Path) -> None:
        """Keep other local clouds off the path. A link there that nobody owns was left by a killed one."""
        name = f"modal-control-plane-{hashlib.sha256(bytes(path)).hexdigest()[:16]}.lock"
        lock = self._locks.enter_context((Path(tempfile.gettempdir()) / name).open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.is_symlink():
            path.unlink()

    def remove(self) -> None:
        """Remove the links; the volumes' folders stay."""
        for path, folder in self._links.items():
            if path.is_symlink() and path.readlink() == folder:
                path.unlink()
        self._links.clear()
        self._locks.close()
