"""What a machine is told that has no sound library."""

import json
import subprocess
import sys

import pytest

from client.audio.sound_devices import NoSoundDevice, sound_devices

WITHOUT_PORTAUDIO = """
import ctypes.util
ctypes.util.find_library = lambda name: None
from client.cli import main
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere sounddevice brings its own PortAudio")
def test_without_portaudio_it_says_what_to_install() -> None:
    command = [sys.executable, "-c", WITHOUT_PORTAUDIO, "devices", "--json"]
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    assert told.returncode == 5
    assert json.loads(told.stdout)["error"]["kind"] == "no_sound_device"
    assert "sudo apt install libportaudio2" in told.stderr


def test_without_sounddevice_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(NoSoundDevice, match=r"pip install -e '\.\[talk\]'"):
        sound_devices()
