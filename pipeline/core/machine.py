"""Settings of the machine that must not change results; how a stage starts and how its errors end it.

A number must not depend on a setting that somebody once made for all programs. Libraries read such settings from
variables of the environment and from files in the home and the current folder. The variables are dealt with here,
before any of those libraries is imported; the files of Keras and matplotlib in `networks.backend` and
`evaluation.drawing`, the only modules that import them.
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

# Variables that would change a number, and what they are here: None is not set. PANDAS_… stands for all that begin so.
# Those that say on what to compute (CUDA_VISIBLE_DEVICES, JAX_PLATFORMS, TF_NUM_INTRAOP_THREADS …) are the user's.
VARIABLES: Mapping[str, str | None] = {
    "KERAS_MAX_EPOCHS": None,  # end a training early
    "KERAS_MAX_STEPS_PER_EPOCH": None,
    "TF_ENABLE_ONEDNN_OPTS": None,  # other kernels, which round otherwise
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
    "NUMBA_DISABLE_JIT": "0",  # loops as Python computes them; set, because .numba_config.yaml may say so too
    "NUMBA_DISABLE_INTEL_SVML": "1",  # other sines where somebody has installed Intel's
    "PANDAS_": None,  # other types of columns, which Parquet files record
    "SCIPY_ARRAY_API": None,
    "SKLEARN_": None,
}


# Parameters of glibc's mallopt(3)
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -2, -3, -4, -8
PROGRAMS = ("pipeline", "benchmarks")  # packages whose modules are run with python -m


def keep_settings_out(environment: "os._Environ[str]" = os.environ) -> None:
    """Set or take out the variables of `VARIABLES`, for this process and those that it starts."""
    for name, value in VARIABLES.items():
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


def cores() -> int:
    """Count the cores that this process may use: by its affinity, its container's share, and LOKY_MAX_CPU_COUNT.

    Raises:
        SettingError: LOKY_MAX_CPU_COUNT is no number of cores.
    """
    import joblib  # late: --help starts in a blink

    limit = os.environ.get("LOKY_MAX_CPU_COUNT", "1")
    if not (limit.isdecimal() and int(limit)):
        raise SettingError(
            f"LOKY_MAX_CPU_COUNT is {limit!r}, expected a number of cores from 1 on: set one, or unset it."
        )
    return int(joblib.cpu_count())


def show_all_letters() -> None:
    r"""Have a letter that standard output or standard error cannot write written by its number, such as \u0442."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def refuse_other_names() -> None:
    r"""Stop where this machine's settings would read names of files as other letters than everywhere else.

    Raises:
        SettingError: names are not read as UTF-8.
    """
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":
        raise SettingError(
            f"The locale of this machine has names of files read as {encoding}, which gives clips other names than on "
            "other machines: set PYTHONUTF8=1."
        )


def explain_errors() -> None:
    """Have the errors that a user can mend end a program of this project in a line, even those of its first import.

    What is not ours, and any error of a program that merely imports this package, keeps its traceback.
    """
    sys.excepthook = in_a_line


def in_a_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show an error that nobody has caught."""
    started = getattr(sys.modules.get("__main__"), "__spec__", None)
    if isinstance(error, SerError) and started and started.name.partition(".")[0] in PROGRAMS:
        show_all_letters()
        print(f"ser-features: {error}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def run_stage(main: Callable[[], None]) -> None:
    """Run a program's ``main``; an error the user can mend becomes one line and exit code 1."""
    show_all_letters()
    try:
        refuse_other_names()
        main()
    except SerError as error:
        sys.exit(f"ser-features: {error}")
    except OSError as error:
        if refused := paths.refusal(error):
            sys.exit(f"ser-features: {refused}")
        raise


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@contextmanager
def suppress_stderr() -> Iterator[None]:
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
