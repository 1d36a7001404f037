"""Devices of the backend: their names, memory and speed, dtype policies, and data parallelism.

Only this module and `backend` call TensorFlow, JAX or torch directly, and only for what Keras lacks.
"""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from math import prod
from typing import Any

from pipeline.core import machine
from pipeline.core.errors import SettingError
from pipeline.train.backend import keras, layers, ops
from pipeline.train.settings import Device

ASSUMED_MEMORY = 8 * 2**30  # bytes of memory assumed of an accelerator whose memory cannot be read
RESIDENT_SHARE = 0.5  # of a device's memory that features may take: the network needs the rest
ACCELERATOR_STEPS = 16  # steps per call on an accelerator, where a call costs as much as a small step


def holds_features(settings: Device, size: int) -> bool:
    """Decide whether features of ``size`` bytes are held on the device: on a CPU they are in its memory anyway."""
    return (
        (on_accelerator() and size <= RESIDENT_SHARE * memory_bytes())
        if settings.resident is None
        else settings.resident
    )


def steps_per_call(settings: Device) -> int:
    """Training steps in one call; Keras supports only 1 with torch."""
    if keras.backend.backend() == "torch":
        return 1
    return settings.steps_per_call or (ACCELERATOR_STEPS if on_accelerator() else 1)


def device_names() -> list[str]:
    """List the accelerators that the backend computes on, or the CPU's devices where there are none."""
    backend = keras.backend.backend()
    if backend == "torch":
        return [str(keras.ops.zeros(1).device)]
    if backend == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return [each.name.removeprefix("/device:").lower() for each in found]
    names: list[str] = keras.distribution.list_devices()
    return names


def device_name() -> str:
    """Name of the device, of several the first."""
    return device_names()[0]


def describe_backend() -> dict[str, str]:
    """Backend, versions and device: on others the same training gives other digits."""
    backend = keras.backend.backend()
    return {"backend": backend, "version": version(backend), "keras": version("keras"), "device": device_name()}


def on_accelerator() -> bool:
    """Check whether the device is not a CPU."""
    return not device_name().startswith("cpu")


def memory_bytes() -> int:
    """Memory of the device in bytes."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return int((jax.devices()[0].memory_stats() or {}).get("bytes_limit", ASSUMED_MEMORY))
    if backend == "torch" and on_accelerator():
        import torch

        return int(torch.cuda.mem_get_info()[1])
    return ASSUMED_MEMORY


def peak_memory() -> dict[str, float]:
    """Peak memory of this process so far in GiB: ``host``, and ``device`` on an accelerator."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes, of ru_maxrss
    found = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    backend = keras.backend.backend()
    if on_accelerator() and backend == "tensorflow":
        import tensorflow as tf

        found["device"] = tf.config.experimental.get_memory_info(device_name())["peak"]
    elif on_accelerator() and backend == "jax":
        import jax

        found["device"] = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)
    elif on_accelerator() and backend == "torch":
        import torch

        found["device"] = torch.cuda.max_memory_allocated()
    return {where: round(size / 2**30, 3) for where, size in found.items()}


@contextmanager
def dtype_policy(policy: str) -> Iterator[None]:
    """Build layers under a dtype policy of Keras, such as mixed_bfloat16."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@dataclass(frozen=True)
class Replicas:
    """The devices that share each batch."""

    count: int
    strategy: Any = None  # tf.distribute.Strategy, with several devices on TensorFlow

    def scope(self) -> AbstractContextManager[Any]:
        """Context in which the network and its optimizer must be created."""
        return nullcontext() if self.strategy is None else self.strategy.scope()


@contextmanager
def data_parallel(count: int) -> Iterator[Replicas]:
    """Split each batch over ``count`` devices; without accelerators, over parts of the CPU, which is no faster.

    Raises:
        SettingError: there are fewer devices, or Keras cannot use several with this backend.
    """
    backend = keras.backend.backend()
    if count > 1 and backend == "torch":
        raise SettingError(
            f"params.yaml: device.count is {count}, but with torch Keras trains on one device: set it to 1, or "
            "KERAS_BACKEND to jax."
        )
    with machine.suppress_stderr():  # TensorFlow reports each GPU when it is first used
        if count > 1:
            split_cpu(count)
        names = device_names()
    if count == 1:
        yield Replicas(1)
        return
    if len(names) < count:
        raise SettingError(
            f"params.yaml: device.count is {count}, but {backend} finds {len(names)} here: {', '.join(names)}."
        )
    if backend == "tensorflow":
        import tensorflow as tf

        yield Replicas(count, tf.distribute.MirroredStrategy(names[:count]))
        return
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=names[:count]))
    try:
        yield Replicas(count)
    finally:
        keras.distribution.set_distribution(None)


def split_cpu(count: int) -> None:
    """Split the CPU into several logical devices, unless something was computed on it already."""
    try:
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            if not tf.config.list_physical_devices("GPU"):
                parts = [tf.config.LogicalDeviceConfiguration()] * count
                tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
        else:
            import jax

            jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:  # too late: the number of devices is fixed
        return


BACKWARD_PASSES = 2  # forward passes: the gradients by the inputs and by the weights cost one each
SHORTEST_MATMUL = 0.03  # s that a matrix product must take to be timed
LARGEST_MATMUL = 16_384  # rows and columns of a matrix
ROUNDS = 3


def training_flops(network: keras.Model) -> int:
    """Floating-point operations of a training step for each clip; a multiplication and an addition count as two."""
    return (1 + BACKWARD_PASSES) * 2 * sum(layer_multiplications(layer) for layer in network.layers)


def layer_multiplications(layer: layers.Layer) -> int:
    """Multiplications of a forward pass through a layer for each clip; element-wise layers are neglected."""
    if isinstance(layer, layers.Conv1D | layers.Conv2D | layers.Dense):
        return int(prod(layer.output.shape[1:-1]) * prod(layer.kernel.shape))
    if isinstance(layer, layers.Bidirectional):
        frames = int(layer.input.shape[1])
        return sum(_recurrent_multiplications(part, frames) for part in (layer.forward_layer, layer.backward_layer))
    if isinstance(layer, layers.GRU | layers.LSTM):
        return _recurrent_multiplications(layer, int(layer.input.shape[1]))
    return 0


def _recurrent_multiplications(layer: Any, frames: int) -> int:
    """Multiplications of a recurrent layer in one direction."""
    return int(frames * (prod(layer.cell.kernel.shape) + prod(layer.cell.recurrent_kernel.shape)))


def matmul_rate(dtype: str = "float32") -> float:
    """Peak operations a second of the device: the fastest of a few large matrix products."""
    size = 512
    while (seconds := _matmul_seconds(size, dtype)) < SHORTEST_MATMUL and size < LARGEST_MATMUL:
        size *= 2
    return 2 * size**3 / min([seconds, *(_matmul_seconds(size, dtype) for _ in range(ROUNDS))])


def _matmul_seconds(size: int, dtype: str) -> float:
    """Seconds of one product of square matrices; the second one is timed, since the first may be compiled."""
    matrix = keras.random.normal((size, size), seed=1, dtype=dtype)
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        found = ops.matmul(matrix, matrix)
        ops.convert_to_numpy(found[:1, :1])  # waits for the device
        seconds = time.perf_counter() - start
    return seconds
