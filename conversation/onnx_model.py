"""A model in ONNX Runtime, as those that listen to a person are run: on one thread."""

from pathlib import Path
from typing import Any

from shared.errors import EngineLoadFailed


def onnx_model(path: Path, name: str) -> Any:
    """The model's InferenceSession. `name` is what people call it.

    Raises ImportError if onnxruntime is not installed, EngineLoadFailed if the file is no model.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's own are many
        raise EngineLoadFailed(f"{name} cannot be loaded from {path}: {error}") from error
