"""What conversation/ must not know, so that a server can use it."""

import subprocess
import sys

OF_THE_HOUSE = ("client", "gateway", "orchestrator", "services", "local_cloud")
FORBIDDEN = (
    *OF_THE_HOUSE,
    "sounddevice",
    "livekit",
    "rich",
    "typer",
    "modal",
    "onnxruntime",
    "faster_whisper",
)


def test_it_imports_nothing_but_shared_no_sound_device_no_terminal_no_cloud_and_no_model() -> None:
    program = (
        "import pkgutil, sys, conversation\n"
        "for module in pkgutil.walk_packages(conversation.__path__, 'conversation.'):\n"
        "    __import__(module.name)\n"
        "assert 'conversation.conversation' in sys.modules\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(FORBIDDEN) & set(run.stdout.split())
