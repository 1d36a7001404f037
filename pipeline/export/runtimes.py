"""Run exported models in ONNX Runtime and LiteRT, without Keras."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.core import errors, machine
from pipeline.core.errors import UnknownNameError

ONNX_FILE, LITERT_FILE = "model.onnx", "model.tflite"
Array = npt.NDArray[np.float32]


class Classifier(Protocol):
    """A model in any runtime."""

    def predict(self, values: Array) -> Array:
        """Return probabilities. Shape: ``(clips, frames, bins)`` or ``(clips, 4 * bins)`` to ``(clips, classes)``."""


@dataclass(frozen=True)
class OnnxModel:
    """A network in ONNX Runtime."""

    session: Any  # onnxruntime.InferenceSession

    def predict(self, values: Array) -> Array:
        """Return probabilities. Shape: ``(clips, frames, bins)`` to ``(clips, classes)``."""
        (patch,), (probabilities,) = self.session.get_inputs(), self.session.get_outputs()
        if not len(values):
            return np.empty((0, probabilities.shape[1]), np.float32)
        (found,) = self.session.run([probabilities.name], {patch.name: np.asarray(values, np.float32)})
        return np.asarray(found, np.float32)


@dataclass(frozen=True)
class LiteRtModel:
    """A network in LiteRT, which processes one clip at a time."""

    interpreter: Any  # ai_edge_litert.interpreter.Interpreter, after allocate_tensors()
    lock: Lock = field(default_factory=Lock)  # threads share the input and output buffers

    def predict(self, values: Array) -> Array:
        """Return probabilities. Shape: ``(clips, frames, bins)`` to ``(clips, classes)``."""
        (patch,), (probabilities,) = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        found = np.empty((len(values), probabilities["shape"][1]), np.float32)
        with self.lock:
            for number, clip in enumerate(np.asarray(values, np.float32)):
                self.interpreter.set_tensor(patch["index"], clip[None])
                self.interpreter.invoke()
                found[number] = self.interpreter.get_tensor(probabilities["index"])[0]
        return found


def load_exported_model(folder: Path, runtime: str, *, threads: int = 1) -> OnnxModel | LiteRtModel:
    """Load an exported model.

    Args:
        folder: of the fold.
        runtime: onnx or litert, as in the card.
        threads: native threads of a call; the networks are too small to gain much from more than one.

    Raises:
        SettingError: the runtime is unknown or not installed.
    """
    if runtime not in LOADERS:
        raise UnknownNameError("runtime", runtime, LOADERS)
    return LOADERS[runtime](folder, threads)


def _open_onnx(folder: Path, threads: int) -> OnnxModel:
    onnxruntime = import_runtime("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    return OnnxModel(onnxruntime.InferenceSession(folder / ONNX_FILE, options, providers=["CPUExecutionProvider"]))


def _open_litert(folder: Path, threads: int) -> LiteRtModel:
    litert = import_runtime("ai_edge_litert.interpreter")
    with machine.suppress_stderr():
        interpreter = litert.Interpreter(str(folder / LITERT_FILE), num_threads=threads)
        interpreter.allocate_tensors()
    return LiteRtModel(interpreter)


LOADERS: Mapping[str, Callable[[Path, int], OnnxModel | LiteRtModel]] = {"onnx": _open_onnx, "litert": _open_litert}


def import_runtime(name: str) -> ModuleType:
    """Import a module of the extra ``export``.

    Raises:
        SettingError: it is not installed.
    """
    with errors.require_extra("export"):
        return importlib.import_module(name)
