"""How much arithmetic a network asks for and a device does: products of matrices, which are most of it."""

import time
from math import prod
from typing import Any

from pipeline.networks.backend import keras, layers, ops

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
