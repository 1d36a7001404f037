"""Keras on the backend that KERAS_BACKEND names, without the settings of a user's keras.json.

This is the one module that imports Keras: all others import it from here, so that no network is built or run without
these settings.
"""

import importlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from pipeline.core import errors, machine
from pipeline.core.errors import UnknownNameError

HOME = Path(__file__).parent  # the keras.json here is read in place of the user's
SETTINGS = json.loads((HOME / "keras.json").read_text(encoding="utf-8"))
BACKENDS = ("tensorflow", "jax", "torch")
# Threads within an operation (the last: torch's). Those between operations stay as they are: devices that share a batch
# each hold a thread until all of them have arrived.
THREADS = ("TF_NUM_INTRAOP_THREADS", "PJRT_NPROC", "OMP_NUM_THREADS")


def load_backend() -> None:
    """Import the backend that KERAS_BACKEND names, by default TensorFlow, with one thread for each core of the process.

    Raises:
        UnknownNameError: KERAS_BACKEND is none of `BACKENDS`.
        SettingError: the backend is not installed.
    """
    name = os.environ.get("KERAS_BACKEND") or SETTINGS["backend"]
    if name not in BACKENDS:
        raise UnknownNameError("KERAS_BACKEND", name, BACKENDS)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only
    for variable in THREADS:
        os.environ.setdefault(variable, str(machine.available_cores()))
    with errors.require_extra(name) if name in errors.USES else nullcontext():
        backend = importlib.import_module(name)
    if name == "tensorflow":
        backend.config.list_physical_devices()  # otherwise the first operation looks for GPUs and reports failures


@contextmanager
def own_home() -> Iterator[None]:
    """Have Keras look for keras.json in the folder of this module."""
    before = os.environ.get("KERAS_HOME")
    os.environ["KERAS_HOME"] = str(HOME)
    try:
        yield
    finally:
        del os.environ["KERAS_HOME"]
        if before is not None:
            os.environ["KERAS_HOME"] = before


# TensorFlow reads keras.json too. It, absl, oneDNN and CUDA write to standard error while they start, before any
# setting of theirs can be made.
with own_home(), machine.suppress_stderr():
    from pipeline.core import plotting  # noqa: F401  before Keras, which imports pyplot with any settings of matplotlib

    if "keras" not in sys.modules:
        load_backend()
    import keras
    from keras import callbacks, layers, ops

# Once more, for a program that had imported Keras before.
keras.config.set_floatx(SETTINGS["floatx"])
keras.config.set_dtype_policy(SETTINGS["floatx"])
keras.config.set_epsilon(SETTINGS["epsilon"])
keras.config.set_image_data_format(SETTINGS["image_data_format"])

__all__ = ["callbacks", "keras", "layers", "ops"]
