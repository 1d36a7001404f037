"""float16 and back, against NumPy, bit for bit."""

import numpy as np
import pytest

from pipeline.store import halves

EVERY = np.arange(2**16, dtype=np.uint16).view(np.float16)
FINITE = EVERY[np.isfinite(EVERY)]


def test_widening_is_exact_for_every_finite_float16():
    out = np.empty(len(FINITE), np.float32)
    halves.widen(FINITE, out)
    assert out.tobytes() == FINITE.astype(np.float32).tobytes()
    assert {2.0**-24, -65504.0} <= set(out.tolist())


def test_rounding_is_numpys_next_to_every_float16_and_halfway_between():
    exact = FINITE.astype(np.float32)
    some = exact[(exact >= 0) & (exact < 65504)]
    halfway = (some + np.nextafter(some.astype(np.float16), np.float16(np.inf)).astype(np.float32)) / 2
    points = np.concatenate([exact, halfway, -halfway])
    for near in (points, np.nextafter(points, np.float32(0)), np.nextafter(points, 2 * points)):
        near = near[np.abs(near) <= 65504]
        assert halves.narrow(near).tobytes() == near.astype(np.float16).tobytes()


@pytest.mark.parametrize("seed", range(3))
def test_rounding_is_numpys_for_any_bits(seed):
    bits = np.random.default_rng(seed).integers(0, 2**32, 300_000, dtype=np.uint32).view(np.float32)
    some = bits[np.abs(bits) <= 65504]
    assert len(some) > 100_000
    with np.errstate(under="ignore"):
        assert halves.narrow(some).tobytes() == some.astype(np.float16).tobytes()


def test_the_shape_stays_and_the_order_of_memory_does_not_matter():
    table = np.random.default_rng(0).normal(-40, 30, (151, 64)).astype(np.float32)
    assert halves.narrow(table).tobytes() == table.astype(np.float16).tobytes()
    np.testing.assert_array_equal(halves.narrow(table.T), table.T.astype(np.float16))


def test_machine_code_does_what_the_python_does(monkeypatch):
    """Plain Python checks every index and every overflow, which the compiled code does not."""
    some = np.float32([0, -0.0, 1, -80.01, 2049, 2051, 65504, 6e-8, 2.9e-8, 1e-40, 6.1e-5])
    fast = halves.narrow(some)
    for name in ("move", "round_to_even"):
        monkeypatch.setattr(halves, name, getattr(halves, name).__wrapped__)
    with np.errstate(over="ignore"):  # the large branch is worked out for small numbers too
        assert halves.narrow(some).tobytes() == fast.tobytes()
    out = np.empty(len(some), np.float32)
    halves.widen(fast, out)
    assert out.tobytes() == fast.astype(np.float32).tobytes()
