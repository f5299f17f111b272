"""Fetch the weights of the defaults in process, whatever is selected: a part of `make setup`."""

import sys

from services.weights import fetch
from services.weights.pinned import OF_THE_DEFAULTS
from shared.errors import SpeechError

if __name__ == "__main__":
    for weights in OF_THE_DEFAULTS:
        print(f"Fetching the weights {weights}", flush=True)  # noqa: T201 (a command's output)
        try:
            fetch(weights)
        except SpeechError as error:
            sys.exit(str(error))
