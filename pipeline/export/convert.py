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
CHATTY = ("tensorflow", "tf2onnx", "absl")


def to_onnx(network: keras.Model, path: Path, _: Array) -> None:
    """Write a network for any number of clips at once, float32."""
    only_tensorflow()
    runtimes.needed("tf2onnx")
    with still():
        again(network).export(path, format="onnx", verbose=False, input_signature=network.inputs)


def to_litert(network: keras.Model, path: Path, _: Array) -> None:
    """Write a network for one clip at a time, float32."""
    write_litert(network, path)


def to_weights(network: keras.Model, path: Path, _: Array) -> None:
    """Write a network for one clip at a time, its weights in 8 bits; what is computed of them stays float32."""
    import tensorflow as tf

    write_litert(network, path, optimizations=[tf.lite.Optimize.DEFAULT])


def to_integers(network: keras.Model, path: Path, samples: Array) -> None:
    """Write a network for one clip at a time, weights and activations in 8 bits; input and output stay float32.

    Args:
        network: what is converted; unrolled, for at a loop the calibrator of TensorFlow 2.21 crashes the process.
        path: the file.
        samples: clips that show the range of each activation, of shape ``(clips, frames, rows)``.
    """
    import tensorflow as tf

    whole = [tf.lite.Optimize.DEFAULT]
    write_litert(network, path, optimizations=whole, representative_dataset=lambda: ([clip[None]] for clip in samples))


def write_litert(network: keras.Model, path: Path, **settings: Any) -> None:
    """Write a network in operations that the plain interpreter knows; the others would fail when it runs."""
    only_tensorflow()
    import tensorflow as tf

    shape = (1, *network.input_shape[1:])
    signature = [keras.InputSpec(shape=shape, dtype="float32", name="patch")]
    plain = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    with still():
        again(network, unroll=True).export(
            path, format="litert", verbose=False, input_signature=signature, target_spec=plain, **settings
        )


def only_tensorflow() -> None:
    """Refuse other backends.

    Raises:
        SettingError: Keras runs on another one.
    """
    if keras.backend.backend() != "tensorflow":
        raise SettingError(
            f"The converters need TensorFlow, and Keras runs on {keras.backend.backend()}: export with "
            "KERAS_BACKEND=tensorflow."
        )


def one_thread() -> None:
    """Start TensorFlow on one thread, as latencies are measured; it stays as it is where it has started."""
    only_tensorflow()
    import tensorflow as tf

    with suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.list_logical_devices()


def again(network: keras.Model, *, unroll: bool = False) -> keras.Model:
    """Build a network once more with the same weights, in the form that converters take.

    Mean and variance become plain arrays: tf2onnx takes tensors that are no weights for further inputs. Recurrent
    layers that are unrolled leave no loop, which the calibrator and some interpreters of LiteRT do not bear.
    """
    copy = keras.models.clone_model(network, clone_function=unrolled if unroll else None)
    copy.set_weights(network.get_weights())
    for layer in copy.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.mean, layer.variance = np.asarray(layer.mean), np.asarray(layer.variance)
    return copy


def unrolled(layer: keras.Layer) -> keras.Layer:
    """Build a layer once more, recurrent ones step after step."""
    config = layer.get_config()
    if isinstance(layer, keras.layers.Bidirectional):
        for way in ("layer", "backward_layer"):
            config[way]["config"]["unroll"] = True
    elif isinstance(layer, keras.layers.GRU | keras.layers.LSTM):
        config["unroll"] = True
    return layer.__class__.from_config(config)


@contextmanager
def still() -> Iterator[None]:
    """Keep what converters say of themselves from people; errors come through."""
    levels = {name: logging.getLogger(name).level for name in CHATTY}
    try:
        for name in CHATTY:
            logging.getLogger(name).setLevel(logging.ERROR)
        with machine.suppress_stderr(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, message=".*np.object.*")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
