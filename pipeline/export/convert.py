"""Convert Keras networks to ONNX and LiteRT. Both converters need TensorFlow."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.core import machine
from pipeline.core.errors import SettingError
from pipeline.export import runtimes
from pipeline.train.backend import keras

Array = npt.NDArray[np.float32]
LOGGERS = ("tensorflow", "tf2onnx", "absl")


def to_onnx(network: keras.Model, path: Path, _: Array) -> None:
    """Write a float32 ONNX model for any number of clips."""
    _require_tensorflow()
    runtimes.import_runtime("tf2onnx")
    with _suppress_logs():
        clone_network(network).export(path, format="onnx", verbose=False, input_signature=network.inputs)


def to_litert(network: keras.Model, path: Path, _: Array) -> None:
    """Write a float32 LiteRT model for one clip at a time."""
    _write_litert(network, path)


def to_litert_int8_weights(network: keras.Model, path: Path, _: Array) -> None:
    """Write a LiteRT model for one clip at a time with 8-bit weights; activations stay float32."""
    import tensorflow as tf

    _write_litert(network, path, optimizations=[tf.lite.Optimize.DEFAULT])


def to_litert_int8(network: keras.Model, path: Path, samples: Array) -> None:
    """Write a LiteRT model for one clip at a time with 8-bit weights and activations; input and output stay float32.

    Args:
        network: the network, which is unrolled: with loops, the calibrator of TensorFlow 2.21 crashes the process.
        path: the file to write.
        samples: clips for calibrating the range of each activation, of shape ``(clips, frames, bins)``.
    """
    import tensorflow as tf

    _write_litert(
        network,
        path,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([clip[None]] for clip in samples),
    )


def _write_litert(network: keras.Model, path: Path, **settings: Any) -> None:
    """Write a LiteRT model of built-in operations only; the interpreter cannot run others."""
    _require_tensorflow()
    import tensorflow as tf

    shape = (1, *network.input_shape[1:])
    signature = [keras.InputSpec(shape=shape, dtype="float32", name="patch")]
    builtin = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    with _suppress_logs():
        clone_network(network, unroll=True).export(
            path, format="litert", verbose=False, input_signature=signature, target_spec=builtin, **settings
        )


def _require_tensorflow() -> None:
    """Refuse other backends than TensorFlow.

    Raises:
        SettingError: Keras runs on another backend.
    """
    if keras.backend.backend() != "tensorflow":
        raise SettingError(
            f"The converters need TensorFlow, and Keras runs on {keras.backend.backend()}: export with "
            "KERAS_BACKEND=tensorflow."
        )


def limit_to_one_thread() -> None:
    """Run TensorFlow on one thread, for latencies; without effect once TensorFlow has started."""
    _require_tensorflow()
    import tensorflow as tf

    with suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.list_logical_devices()


def clone_network(network: keras.Model, *, unroll: bool = False) -> keras.Model:
    """Clone a network with its weights, in a form that the converters accept.

    Mean and variance become NumPy arrays, because tf2onnx turns tensors that are no weights into further inputs.
    `unroll` removes the loops of recurrent layers, with which the calibrator and some interpreters of LiteRT fail.
    """
    copy = keras.models.clone_model(network, clone_function=_unroll_layer if unroll else None)
    copy.set_weights(network.get_weights())
    for layer in copy.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.mean, layer.variance = np.asarray(layer.mean), np.asarray(layer.variance)
    return copy


def _unroll_layer(layer: keras.Layer) -> keras.Layer:
    """Clone a layer, unrolled if it is recurrent."""
    config = layer.get_config()
    if isinstance(layer, keras.layers.Bidirectional):
        for direction in ("layer", "backward_layer"):
            config[direction]["config"]["unroll"] = True
    elif isinstance(layer, keras.layers.GRU | keras.layers.LSTM):
        config["unroll"] = True
    return layer.__class__.from_config(config)


@contextmanager
def _suppress_logs() -> Iterator[None]:
    """Suppress the log output of the converters, except errors."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    try:
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        with machine.suppress_stderr(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, message=".*np.object.*")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
