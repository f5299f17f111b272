"""What happens on the control plane, one event at a time, for whoever watches."""

import enum
import time
from dataclasses import dataclass, field


class Kind(enum.StrEnum):
    """What has happened, in the word that a person is shown."""

    DEPLOYED = "deployed"
    RUNNING = "running"  # an app that ends with its client
    STOPPED = "stopped"
    STARTING = "starting"
    SNAPSHOT = "snapshot"
    READY = "ready"
    STOPPING = "stopping"
    PREEMPTED = "preempted"
    ENDED = "ended"
    CRASHED = "crashed"
    CALL = "call"
    OK = "ok"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    CANCELLED = "cancelled"
    RETRIED = "retried"
    OUTPUT = "|"
    UNKNOWN = "unknown"  # a request that the control plane cannot answer
    ERROR = "error"  # of the control plane itself


@dataclass(frozen=True)
class Event:
    """One event; `app` is empty where no app is concerned, `at` is in seconds since the epoch."""

    kind: Kind
    app: str
    text: str
    at: float = field(default_factory=time.time)
