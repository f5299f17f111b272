"""The local cloud: Modal's own client and container entry point run against a control plane on this machine.

What is real: the `modal` command and library, unmodified, on both sides; every container a process of
its own with only the image's packages and the mounted sources. What is simulated: scheduling, the
network, image builds (pip layers become virtual environments by uv, the rest is recorded), the GPU. Memory
snapshots go through their steps but save nothing.
"""

from local_cloud.environments import Machine
from local_cloud.plane import DEFAULT_CACHE, ControlPlane
from local_cloud.views import AppView, ContainerView, FunctionView, ImageView

__all__ = [
    "DEFAULT_CACHE",
    "AppView",
    "ContainerView",
    "ControlPlane",
    "FunctionView",
    "ImageView",
    "Machine",
]
