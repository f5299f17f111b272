"""`s2s devices`: the microphones and loudspeakers of this machine."""

from rich.console import Console
from rich.text import Text

from client.audio.sound_devices import NoSoundDevice, sound_devices
from client.display.terminal import plain_table, print_json


def devices_command(*, as_json: bool) -> None:
    """Run the command; see `s2s devices --help`."""
    devices = sound_devices()
    if not devices:
        raise NoSoundDevice("There is neither a microphone nor a loudspeaker here.")
    if as_json:
        print_json(devices)
        return
    table = plain_table(folded=("", "direction", "name", "through"), figures=("channels", "rate"))
    for device in devices:
        table.add_row(
            "*" if device.default else "",
            device.direction,
            Text(device.name),  # no markup
            device.host_api,
            str(device.channels),
            f"{device.sample_rate_hz} Hz",
            style="bold" if device.default else "",
        )
    Console().print(table, "[bold]*[/] default. A part of a name that no other has is enough.", sep="\n")
