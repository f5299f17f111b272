"""The loudspeaker, without PortAudio: a player on the PATH that keeps what it is to play."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from client.audio.loudspeaker import Loudspeaker, NoLoudspeaker
from shared.audio.pcm import Pcm


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def player(folder: Path, script: str) -> None:
    path = folder / "paplay"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def piece(level: float, num_samples: int = 1600) -> Pcm:
    return Pcm(np.full(num_samples, level, np.float32), 16_000)


async def test_pieces_are_played_in_order_and_without_a_gap(bin_folder: Path) -> None:
    player(bin_folder, f'echo "$@" > {bin_folder}/options; /bin/cat > {bin_folder}/played')
    with Loudspeaker() as loudspeaker:
        for level in (0.25, 0.5, 0.75):
            loudspeaker.play(piece(level))
        await loudspeaker.played()
    samples = np.frombuffer((bin_folder / "played").read_bytes(), "<i2") / 32767
    assert np.allclose(samples, np.repeat([0.25, 0.5, 0.75], 1600), atol=1e-4)
    assert "--rate=16000" in (bin_folder / "options").read_text()


async def test_without_anything_to_play_with_it_says_what_to_install(bin_folder: Path) -> None:
    with Loudspeaker() as loudspeaker:
        loudspeaker.play(piece(0.5))
        with pytest.raises(NoLoudspeaker, match="libportaudio2"):
            await loudspeaker.played()


async def test_a_player_that_fails_is_told(bin_folder: Path) -> None:
    player(bin_folder, "/bin/cat > /dev/null; exit 1")
    with Loudspeaker() as loudspeaker:
        loudspeaker.play(piece(0.5))
        with pytest.raises(NoLoudspeaker, match="paplay has no sound device"):
            await loudspeaker.played()


def test_leaving_it_by_an_error_falls_silent_at_once(bin_folder: Path) -> None:
    player(bin_folder, f"echo started > {bin_folder}/started; exec /bin/sleep 60")
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Loudspeaker() as loudspeaker:
        for _ in range(100):
            loudspeaker.play(piece(0.5, 16_000))
        while not (bin_folder / "started").exists():
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert time.monotonic() - began < 30
