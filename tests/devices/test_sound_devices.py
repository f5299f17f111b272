"""Microphone and loudspeaker on a real sound server, by PortAudio, without hardware."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from bench.sounds import Samples, voice
from shared.audio.decode import decode_audio
from shared.audio.pcm import Pcm, resample
from shared.settings import Settings
from tests.support.paths import EXAMPLES
from tests.support.pulse_audio import RATE_HZ, PulseAudio
from tests.support.sounds import likeness

pytestmark = [pytest.mark.devices, pytest.mark.needs("portaudio", "pulseaudio")]

TIMEOUT_S = 60
S2S = "from client.cli import main; main()"
WHY_NOT = """
import sys
from client.audio.sound_devices import Direction, NoSoundDevice, find_device
for name in sys.argv[1:]:
    try:
        find_device(Direction.INPUT, name)
    except NoSoundDevice as error:
        print(error)
"""


@pytest.fixture(scope="module")
def pulse_audio() -> Iterator[PulseAudio]:
    with PulseAudio() as server:
        yield server


def python(pulse_audio: PulseAudio, code: str, *arguments: str) -> str:
    """What the code prints in a process of its own, on this sound server."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, env=pulse_audio.environ, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


@contextmanager
def program(pulse_audio: PulseAudio, name: str, folder: Path, *, ready: int = 1) -> Iterator[dict[str, Any]]:
    """Runs one of the programs; inside, its devices are open; afterwards there is what it found out."""
    command = [sys.executable, "-m", "tests.support.sound_programs", name, str(folder)]
    found: dict[str, Any] = {}
    with subprocess.Popen(command, env=pulse_audio.environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            for _ in range(ready):
                assert process.stdout.readline() == "ready\n"
            yield found
            assert process.wait(TIMEOUT_S) == 0
        finally:
            process.kill()
    if (folder / "found.json").exists():
        found.update(json.loads((folder / "found.json").read_text()))


def take(pulse_audio: PulseAudio, name: str, folder: Path) -> tuple[Samples, dict[str, Any]]:
    """What the loudspeaker says while a program runs; once more where the machine was too busy for it."""
    for _ in range(5):
        with pulse_audio.recorded_speaker() as recorded, program(pulse_audio, name, folder) as found:
            pass
        if not found["underruns"]:
            break
    return recorded[0], found


def sixteen_bit(num_samples: int, seed: int, sample_rate_hz: int = RATE_HZ) -> Samples:
    """Something like speech, in steps that a 16-bit device keeps, and not silent at its ends."""
    samples = np.rint(voice(num_samples, sample_rate_hz, seed).samples * 32_768) / 32_768
    samples[[0, -1]] = 0.25
    return samples.astype(np.float32)


def place_of(part: Samples, sound: Samples) -> int:
    """Where the part is in the sound, bit by bit."""
    spectrum = np.fft.rfft(sound, sound.size + part.size)
    match = np.fft.irfft(spectrum * np.conj(np.fft.rfft(part, sound.size + part.size)))
    likely = np.argsort(match[: sound.size - part.size + 1])[-20:]
    errors = [np.abs(sound[place : place + part.size] - part).max() for place in likely]
    assert min(errors) <= 1 / 32_768
    return int(likely[np.argmin(errors)])


def test_devices_are_listed_by_name(pulse_audio: PulseAudio) -> None:
    devices = json.loads(python(pulse_audio, S2S, "devices", "--json"))
    assert {(one["direction"], one["name"]) for one in devices} >= {
        ("input", "table_microphone"),
        ("output", "table_loudspeaker"),
    }
    assert [one["name"] for one in devices if one["default"]] == ["default", "default"]
    table = python(pulse_audio, S2S, "devices")
    assert "table_microphone" in table
    assert any(line.startswith("*") and "default" in line for line in table.splitlines())


def test_a_name_that_chooses_no_device_or_several_is_an_error(pulse_audio: PulseAudio) -> None:
    nobody, several = python(pulse_audio, WHY_NOT, "gramophone", "table_", "Table_Micro").splitlines()
    assert nobody.startswith("There is no microphone called 'gramophone', only: ")
    assert "table_microphone, ALSA" in nobody
    assert several.startswith("Several microphones are called 'table_': say which (")


def test_the_microphone_records_exactly_what_is_played_to_it(pulse_audio: PulseAudio, tmp_path: Path) -> None:
    said = sixteen_bit(2 * RATE_HZ, seed=1)
    soundfile.write(tmp_path / "said.wav", said, RATE_HZ, subtype="PCM_16")
    with program(pulse_audio, "hear", tmp_path, ready=2):
        pulse_audio.say_to_microphone(tmp_path / "said.wav")
        (tmp_path / "enough").touch()
    place_of(said, np.load(tmp_path / "same_rate.npy"))
    resampled = np.load(tmp_path / "other_rate.npy")
    lag = int(np.argmax(np.correlate(resampled, said[8_000:16_000], "valid")))
    assert likeness(resampled[lag : lag + 8_000], said[8_000:16_000]) > 0.999


def test_what_nobody_takes_from_the_microphone_is_counted(pulse_audio: PulseAudio, tmp_path: Path) -> None:
    with program(pulse_audio, "stall", tmp_path, ready=0) as found:
        pass
    assert found["lost_samples"] == found["lost_before_frames"] > 0


def test_the_speaker_plays_the_segments_without_a_gap(pulse_audio: PulseAudio, tmp_path: Path) -> None:
    segments = [sixteen_bit(RATE_HZ // 2, seed) for seed in range(4)]
    for index, segment in enumerate(segments):
        np.save(tmp_path / f"segment{index}.npy", segment)
    other_rate = sixteen_bit(24_000, seed=9, sample_rate_hz=24_000)
    np.save(tmp_path / "other_rate.npy", other_rate)
    recorded, found = take(pulse_audio, "say", tmp_path)
    assert found["underruns"] == 0
    place_of(np.concatenate(segments), recorded)
    played = np.load(tmp_path / "played.npy")
    behind = place_of(np.concatenate(segments), played) + 2 * RATE_HZ
    resampled = resample(Pcm(other_rate, 24_000), RATE_HZ).samples
    start = behind + int(np.argmax(np.abs(played[behind:]) > 0.1))
    lags = np.correlate(played[start - 500 : start + RATE_HZ], resampled[: RATE_HZ // 2], "valid")
    start += int(np.argmax(lags)) - 500
    assert likeness(played[start : start + RATE_HZ], resampled) > 0.99


def test_a_pause_is_audible_within_100_ms_and_nothing_is_lost(
    pulse_audio: PulseAudio, tmp_path: Path
) -> None:
    reply = sixteen_bit(4 * RATE_HZ, seed=3)
    np.save(tmp_path / "reply.npy", reply)
    recorded, found = take(pulse_audio, "pause", tmp_path)
    begins, played = place_of(reply[: RATE_HZ // 4], recorded), found["played_samples"]
    paused_at = int(np.argmax(np.abs(recorded[begins : begins + played] - reply[:played]) > 2 / 32_768))
    fade = RATE_HZ * 5 // 1_000
    resumed = place_of(reply[paused_at + fade : played], recorded)
    silence = recorded[begins + paused_at + fade : resumed - fade]
    assert not silence.any()
    assert silence.size > 0.3 * RATE_HZ
    assert not recorded[resumed + played - paused_at :].any()
    assert (paused_at + fade) / RATE_HZ <= found["paused_after_s"] + 0.1


def test_the_reply_of_a_turn_is_played_whole(pulse_audio: PulseAudio, tmp_path: Path) -> None:
    options = ["--output-device", "table_loudspeaker", "-o", str(tmp_path / "reply.wav")]
    with pulse_audio.recorded_speaker() as recorded:
        python(pulse_audio, S2S, "turn", str(EXAMPLES / "what-is-two-plus-two.mp3"), *options)
    reply = resample(decode_audio((tmp_path / "reply.wav").read_bytes(), Settings()), RATE_HZ).samples
    spoken, heard = (np.flatnonzero(np.abs(samples) > 0.02) for samples in (reply, recorded[0]))
    assert abs((heard[-1] - heard[0]) - (spoken[-1] - spoken[0])) < 0.02 * RATE_HZ
    reply = reply[spoken[0] : spoken[-1]]
    lags = [likeness(recorded[0][heard[0] + lag :][: reply.size], reply) for lag in range(-100, 100)]
    assert max(lags) > 0.95


def test_a_lost_device_is_an_error(tmp_path: Path) -> None:
    with PulseAudio() as server, program(server, "lose", tmp_path) as found:
        server.stop()
    assert "table_microphone delivers no more audio" in found["errors"][0]
    assert "table_loudspeaker takes no more audio" in found["errors"][1]
