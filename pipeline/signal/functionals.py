"""One vector for a whole clip: mean and deviation of each row of a view and of its change, as classic systems have it.

Schuller et al., The INTERSPEECH 2009 Emotion Challenge, describe clips by such functionals.
"""

import numpy as np
import numpy.typing as npt

from pipeline.signal.deltas import Array, delta


def functionals(patches: Array, valid_frames: npt.NDArray[np.int32]) -> Array:
    """Describe clips by the frames that hold sound. Shape: ``(clips, frames, rows)`` to ``(clips, 4 * rows)``.

    The columns are means, deviations, means of the deltas, deviations of the deltas, in the units of the view.

    >>> functionals(np.float32([[[0], [2], [9]]]), np.int32([2])).tolist()
    [[1.0, 1.0, 0.0, 0.0]]
    """
    sound = (patch[: max(1, count)] for patch, count in zip(patches, valid_frames, strict=True))
    found = [np.concatenate([*moments(rows), *moments(delta(rows))]) for rows in sound]
    return np.array(found, np.float32).reshape(len(patches), 4 * patches.shape[2])


def moments(rows: Array) -> list[npt.NDArray[np.float64]]:
    """Give mean and deviation of each row over the frames. Shape: ``(frames, rows)`` to two of ``(rows,)``."""
    return [rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)]
