"""Isolate results from settings of the machine; start stages and report their errors.

Libraries read settings from environment variables and from files in the home and the current folder; none of them may
change a result. The variables are handled here, before those libraries are imported. The files of Keras and matplotlib
are handled in `train.backend` and `core.plotting`, the only modules that import them.
"""

import ctypes
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import TracebackType

from pipeline.core import paths
from pipeline.core.errors import SerError, SettingError

# Variables that would change results, with their fixed values: None unsets a variable, a trailing _ is a prefix. Those
# that choose the hardware (CUDA_VISIBLE_DEVICES, JAX_PLATFORMS, TF_NUM_INTRAOP_THREADS …) are left to the user.
FIXED_VARIABLES: Mapping[str, str | None] = {
    "KERAS_MAX_EPOCHS": None,  # ends training early
    "KERAS_MAX_STEPS_PER_EPOCH": None,
    "TF_ENABLE_ONEDNN_OPTS": None,  # other kernels, with different rounding
    "TF_DETERMINISTIC_OPS": None,
    "TF_CUDNN_DETERMINISTIC": None,
    "TF_XLA_FLAGS": None,
    "TF_ENABLE_AUTO_MIXED_PRECISION": None,  # half precision: train.precision decides
    "ONEDNN_DEFAULT_FPMATH_MODE": None,
    "DNNL_DEFAULT_FPMATH_MODE": None,
    "NVIDIA_TF32_OVERRIDE": None,
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": None,
    "JAX_ENABLE_X64": None,
    "JAX_DEFAULT_DTYPE_BITS": None,
    "JAX_DEFAULT_MATMUL_PRECISION": None,
    "JAX_NUMPY_DTYPE_PROMOTION": None,
    "JAX_DEFAULT_PRNG_IMPL": None,  # other random numbers
    "JAX_ENABLE_CUSTOM_PRNG": None,
    "JAX_THREEFRY_PARTITIONABLE": None,
    "NUMBA_DISABLE_JIT": "0",  # set, because .numba_config.yaml may disable it too
    "NUMBA_DISABLE_INTEL_SVML": "1",  # other sine functions where Intel's are installed
    "PANDAS_": None,  # other column types, which Parquet files record
    "SCIPY_ARRAY_API": None,
    "SKLEARN_": None,
}


# Parameters of glibc's mallopt(3)
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -2, -3, -4, -8
PROGRAMS = ("pipeline", "benchmarks")  # packages whose modules are run with python -m


def fix_environment(environment: "os._Environ[str]" = os.environ) -> None:
    """Set or unset the environment variables of `FIXED_VARIABLES`, for this process and its children."""
    for name, value in FIXED_VARIABLES.items():
        for found in [each for each in environment if each.startswith(name) and (each == name or name.endswith("_"))]:
            del environment[found]
        if value is not None:
            environment[name] = value


def set_malloc_options(options: Mapping[int, int]) -> bool:
    """Set parameters of the C library's memory allocator; return whether all were set, which only glibc can do.

    By default, glibc returns large blocks to the system when they are freed, and the kernel clears their pages again
    when they are next allocated.
    """
    library = ctypes.CDLL(None)
    return hasattr(library, "mallopt") and all(library.mallopt(name, value) == 1 for name, value in options.items())


@cache
def keep_freed_memory() -> bool:
    """Have glibc keep freed memory for the next clip, as fresh pages cost a third of the time."""
    largest = 2**25  # bytes; glibc accepts no more
    return set_malloc_options({MMAP_THRESHOLD: largest, TRIM_THRESHOLD: 2**28})


def available_cores() -> int:
    """Count the cores available to this process, by its affinity, its container's quota and LOKY_MAX_CPU_COUNT.

    Raises:
        SettingError: LOKY_MAX_CPU_COUNT is not a positive whole number.
    """
    import joblib  # late, so that --help starts fast

    limit = os.environ.get("LOKY_MAX_CPU_COUNT", "1")
    if not (limit.isdecimal() and int(limit)):
        raise SettingError(
            f"LOKY_MAX_CPU_COUNT is {limit!r}, expected a number of cores from 1 on: set one, or unset it."
        )
    return int(joblib.cpu_count())


def escape_unencodable() -> None:
    r"""Escape characters that standard output or standard error cannot encode, as in \u0442."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def check_filename_encoding() -> None:
    """Check that file names are decoded as UTF-8, so that clips have the same names on all machines.

    Raises:
        SettingError: another encoding is in use.
    """
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":
        raise SettingError(
            f"The locale of this machine decodes file names as {encoding}, so clips would have other names than on "
            "other machines: set PYTHONUTF8=1."
        )


def install_excepthook() -> None:
    """Print the errors that a user can fix in one line, even those raised during the first import.

    Other errors, and errors in programs that merely import this package, keep their traceback.
    """
    sys.excepthook = _print_uncaught


def _print_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an uncaught error; the signature is that of ``sys.excepthook``."""
    started = getattr(sys.modules.get("__main__"), "__spec__", None)
    if isinstance(error, SerError) and started and started.name.partition(".")[0] in PROGRAMS:
        escape_unencodable()
        print(f"ser-features: {error}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def run_stage(main: Callable[[], None]) -> None:
    """Run a program's ``main``; an error the user can fix is printed in one line, with exit code 1."""
    escape_unencodable()
    try:
        check_filename_encoding()
        main()
    except SerError as error:
        sys.exit(f"ser-features: {error}")
    except OSError as error:
        if refused := paths.explain_os_error(error):
            sys.exit(f"ser-features: {refused}")
        raise


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@contextmanager
def suppress_stderr() -> Iterator[None]:
    """Suppress what native code writes to standard error, unless the block fails.

    TensorFlow reports missing drivers before its log level can be set.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as output:
        os.dup2(output.fileno(), 2)
        try:
            yield
        except BaseException:
            output.seek(0)
            os.write(stderr, output.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
