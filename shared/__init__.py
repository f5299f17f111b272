"""The language everyone here speaks: payloads, audio, engines, settings, errors, the ledger.

Imports neither modal nor any engine library.
"""

import os

# From 1.29 on ONNX Runtime, which faster-whisper, hibari and Smart Turn use, sends telemetry to Microsoft and
# writes an id of the machine into the user's cache, as soon as it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
