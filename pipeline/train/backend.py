"""Keras as params.yaml means it: on the backend that KERAS_BACKEND names, without the settings of a user's keras.json.

This is the one module that imports Keras; all others have it from here, so that no network is built or asked without.
"""

import importlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from pipeline.core import extras, machine
from pipeline.core.errors import UnknownNameError

HOME = Path(__file__).parent  # the keras.json here is read in place of the user's
SETTINGS = json.loads((HOME / "keras.json").read_text(encoding="utf-8"))
BACKENDS = ("tensorflow", "jax", "torch")
# Not between operations: devices that share a batch each hold a thread until all have come.
THREADS = ("TF_NUM_INTRAOP_THREADS", "PJRT_NPROC", "OMP_NUM_THREADS")  # within an operation; the last: torch's


def load_backend() -> None:
    """Load what KERAS_BACKEND names, without it TensorFlow, with no more threads than there are cores for this process.

    Raises:
        UnknownNameError: it names none of `BACKENDS`.
        SettingError: it is not installed.
    """
    name = os.environ.get("KERAS_BACKEND") or SETTINGS["backend"]
    if name not in BACKENDS:
        raise UnknownNameError("KERAS_BACKEND", name, BACKENDS)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # start-up notes are not for our users
    for variable in THREADS:
        os.environ.setdefault(variable, str(machine.cores()))
    with extras.needed(name) if name in extras.USES else nullcontext():
        importlib.import_module(name)


@contextmanager
def own_home() -> Iterator[None]:
    """Have Keras take the folder of this module for its home, in which it looks for keras.json."""
    before = os.environ.get("KERAS_HOME")
    os.environ["KERAS_HOME"] = str(HOME)
    try:
        yield
    finally:
        del os.environ["KERAS_HOME"]
        if before is not None:
            os.environ["KERAS_HOME"] = before


with own_home():  # TensorFlow looks at Keras too
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
