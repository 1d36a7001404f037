"""Keep what backends say of themselves at their start away from people who asked for an answer."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@contextmanager
def startup() -> Iterator[None]:
    """Hold back what native code writes to standard error; it is shown if the block fails.

    TensorFlow reports drivers it does not find before any setting of it can be made.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
