"""What conversation/ must not know, so that a server can use it."""

import subprocess
import sys

FORBIDDEN = ("client", "gateway", "sounddevice", "livekit", "rich", "typer", "modal")


def test_it_imports_no_client_no_sound_device_no_terminal_and_no_cloud() -> None:
    program = (
        "import pkgutil, sys, conversation\n"
        "for module in pkgutil.walk_packages(conversation.__path__, 'conversation.'):\n"
        "    __import__(module.name)\n"
        "assert 'conversation.conversation' in sys.modules\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(FORBIDDEN) & set(run.stdout.split())
