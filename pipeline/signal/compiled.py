"""Compiles with numba the loops that NumPy alone does not make fast."""

from collections.abc import Callable
from functools import cache, partial, wraps
from types import FunctionType
from typing import Any, TypeVar, cast, overload

Function = TypeVar("Function", bound=Callable[..., Any])


@overload
def compiled(function: Function) -> Function: ...
@overload
def compiled(*, apart: bool) -> Callable[[Function], Function]: ...
def compiled(function: Any = None, *, apart: bool = False) -> Any:
    """Compile a function with numba at its first call; the machine code is cached on disk where that is possible.

    Compiled late because numba takes as long to import as all else together, and features from the clip cache don't
    need it. Division by zero gives infinity, as in NumPy: a check would prevent vectorisation. No ``fastmath``: results
    would depend on the processor.

    Args:
        function: what to compile; it may call other compiled functions of its module.
        apart: whether no two array arguments overlap (``noalias``), which lets loops over several arrays be vectorised.
    """
    if function is None:
        return partial(compiled, apart=apart)

    @cache
    def machine() -> Callable[..., Any]:
        import numba

        options = {"pipeline_class": _noalias_compiler()} if apart else {}
        try:
            return cast(
                "Callable[..., Any]", numba.njit(cache=True, error_model="numpy", **options)(_link_compiled(function))
            )
        except RuntimeError:  # neither the folder of this file nor the user's cache folder is writable
            return cast("Callable[..., Any]", numba.njit(error_model="numpy", **options)(_link_compiled(function)))

    @wraps(function)
    def call(*args: Any) -> Any:
        return machine()(*args)

    call.machine = machine  # type: ignore[attr-defined]
    return call


def _link_compiled(function: FunctionType) -> FunctionType:
    """Make a function call the machine code of the compiled functions that it names."""
    known: dict[str, Any] = {name: function.__globals__.get(name) for name in function.__code__.co_names}
    machines = {name: each.machine() for name, each in known.items() if hasattr(each, "machine")}
    twin = FunctionType(function.__code__, function.__globals__ | machines, function.__name__, function.__defaults__)
    return cast("FunctionType", wraps(function)(twin)) if machines else function


@cache
def _noalias_compiler() -> type:
    """Return the compiler that assumes arrays do not overlap (numba: "Customizing the Compiler")."""
    from numba.core.compiler import CompilerBase, DefaultPassBuilder

    class Apart(CompilerBase):  # type: ignore[misc]
        def define_pipelines(self) -> list[Any]:
            self.state.flags.noalias = True
            return [DefaultPassBuilder.define_nopython_pipeline(self.state)]

    return Apart
