"""Machine code for the loops that arrays alone do not make fast."""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile at the first call, kept on disk for the next process where a folder for it can be had.

    Compiled late because numba takes as long to import as all else together, and what comes out of a cache needs none.
    Dividing by zero gives infinity, as arrays do: a check for it would keep the loop from doing eight numbers at once.
    No ``fastmath``: processors would round differently.
    """

    @cache
    def machine() -> Callable[..., Any]:
        import numba

        try:
            return cast("Callable[..., Any]", numba.njit(cache=True, error_model="numpy")(function))
        except RuntimeError:  # neither the folder of this file nor the user's cache can be written
            return cast("Callable[..., Any]", numba.njit(error_model="numpy")(function))

    @wraps(function)
    def call(*args: Any) -> Any:
        return machine()(*args)

    return cast("Function", call)
