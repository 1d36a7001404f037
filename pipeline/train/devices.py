"""Devices of a backend: which there are, what they hold and compute, one batch over several.

This is the one module that speaks to TensorFlow, JAX or torch themselves, and to no more of them than Keras lacks.
"""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from math import prod
from typing import Any

from pipeline.core.errors import SettingError
from pipeline.train.backend import keras, layers, ops

UNKNOWN = 8 * 2**30  # bytes that an accelerator is taken to have where nothing says
SHARE = 0.5  # of a device's memory that features may take: the network needs the rest
MOST = 1_024  # devices, or steps in a call
CALL = 16  # steps in a call on an accelerator, where a call costs as much as a small step


@dataclass(frozen=True, kw_only=True)
class Device:
    """On what to train, never what comes out: no stage depends on this section of params.yaml."""

    count: int = 1  # devices that share each batch
    resident: bool | None = None  # whether features lie on the device; None: on accelerators, where they fit
    steps_per_call: int | None = None  # steps compiled into one call; None: 1 on a CPU, else 16

    def __post_init__(self) -> None:
        for name in ("count", "steps_per_call"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= MOST:
                raise SettingError(f"params.yaml: device.{name} is {value}, expected 1 or more, up to {MOST}.")

    def keeps(self, size: int) -> bool:
        """Say whether features of so many bytes go to the device once: a CPU has them in its memory anyway."""
        return (on_accelerator() and size <= SHARE * capacity()) if self.resident is None else self.resident

    @property
    def steps(self) -> int:
        """Steps in one call; torch knows calls of one alone."""
        if keras.backend.backend() == "torch":
            return 1
        return self.steps_per_call or (CALL if on_accelerator() else 1)


def every() -> list[str]:
    """Name the devices of the kind that is computed on: accelerators if there are any, else the CPU's."""
    backend = keras.backend.backend()
    if backend == "torch":
        return [str(keras.ops.zeros(1).device)]
    if backend == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return [each.name.removeprefix("/device:").lower() for each in found]
    names: list[str] = keras.distribution.list_devices()
    return names


def name() -> str:
    """Name what the backend computes on, the first of several."""
    return every()[0]


def on_accelerator() -> bool:
    """Say whether that is something else than a CPU."""
    return not name().startswith("cpu")


def capacity() -> int:
    """The memory of the device in bytes."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return int((jax.devices()[0].memory_stats() or {}).get("bytes_limit", UNKNOWN))
    if backend == "torch" and on_accelerator():
        import torch

        return int(torch.cuda.mem_get_info()[1])
    return UNKNOWN


def peak_memory() -> dict[str, float]:
    """The most memory that this process has held so far, in GiB: of the machine and of an accelerator."""
    unit = 1 if sys.platform == "darwin" else 1024
    found = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    backend = keras.backend.backend()
    if on_accelerator() and backend == "tensorflow":
        import tensorflow as tf

        found["device"] = tf.config.experimental.get_memory_info(name())["peak"]
    elif on_accelerator() and backend == "jax":
        import jax

        found["device"] = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)
    elif on_accelerator() and backend == "torch":
        import torch

        found["device"] = torch.cuda.max_memory_allocated()
    return {where: round(size / 2**30, 3) for where, size in found.items()}


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Build layers in a precision: what Keras calls a dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@dataclass(frozen=True)
class Spread:
    """Several devices that share each batch, or one that has it all."""

    count: int
    strategy: Any = None  # of TensorFlow

    def building(self) -> AbstractContextManager[Any]:
        """Within this the network to train is made, and its optimizer."""
        return nullcontext() if self.strategy is None else self.strategy.scope()


@contextmanager
def spread(count: int) -> Iterator[Spread]:
    """Share batches among devices; a machine without accelerators splits its CPU, which proves much and speeds nothing.

    Raises:
        SettingError: there are not as many, or the backend cannot.
    """
    if count == 1:
        yield Spread(1)
        return
    backend = keras.backend.backend()
    if backend == "torch":
        raise SettingError(
            f"params.yaml: device.count is {count}, and Keras trains on one with torch: set 1, or KERAS_BACKEND to jax."
        )
    split(count)
    names = every()
    if len(names) < count:
        raise SettingError(
            f"params.yaml: device.count is {count}, and {backend} sees {len(names)} here: {', '.join(names)}."
        )
    if backend == "tensorflow":
        import tensorflow as tf

        yield Spread(count, tf.distribute.MirroredStrategy(names[:count]))
        return
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=names[:count]))
    try:
        yield Spread(count)
    finally:
        keras.distribution.set_distribution(None)


def split(count: int) -> None:
    """Make several devices of a CPU, if nothing was computed on it yet; accelerators stay as they are."""
    try:
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            if not tf.config.list_physical_devices("GPU"):
                parts = [tf.config.LogicalDeviceConfiguration()] * count
                tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
        else:
            import jax

            jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:  # too late: there are as many as there are
        return


BACKWARD = 2  # gradients by the inputs and by the weights cost a forward pass each
LONG = 0.03  # s that a product must take to be timed
LARGEST = 16_384  # rows and columns of a matrix
ROUNDS = 3


def training_flops(network: keras.Model) -> int:
    """Floating-point operations of one training step, for each clip: multiplications and additions count singly."""
    return (1 + BACKWARD) * 2 * sum(products(layer) for layer in network.layers)


def products(layer: layers.Layer) -> int:
    """Multiplications of one forward pass through a layer, for each clip; those of a few a number are left out."""
    if isinstance(layer, layers.Conv1D | layers.Conv2D | layers.Dense):
        return int(prod(layer.output.shape[1:-1]) * prod(layer.kernel.shape))
    if isinstance(layer, layers.Bidirectional):
        frames = int(layer.input.shape[1])
        return sum(recurrent(part, frames) for part in (layer.forward_layer, layer.backward_layer))
    if isinstance(layer, layers.GRU | layers.LSTM):
        return recurrent(layer, int(layer.input.shape[1]))
    return 0


def recurrent(layer: Any, frames: int) -> int:
    """Multiplications of a recurrent layer in one direction."""
    return int(frames * (prod(layer.cell.kernel.shape) + prod(layer.cell.recurrent_kernel.shape)))


def matrix_rate(dtype: str = "float32") -> float:
    """Operations a second of large products of matrices on this device, the best of a few: what it can do at most."""
    size = 512
    while (taken := product(size, dtype)) < LONG and size < LARGEST:
        size *= 2
    return 2 * size**3 / min([taken, *(product(size, dtype) for _ in range(ROUNDS))])


def product(size: int, dtype: str) -> float:
    """Take the seconds of one product, the second one, since the first may be compiled."""
    one = keras.random.normal((size, size), seed=1, dtype=dtype)
    taken = 0.0
    for _ in range(2):
        start = time.perf_counter()
        found = ops.matmul(one, one)
        ops.convert_to_numpy(found[:1, :1])  # waits for it
        taken = time.perf_counter() - start
    return taken
