"""How a stage starts and ends when it is run as a program."""

import sys
from collections.abc import Callable

from pipeline import paths
from pipeline.errors import SerError


def stage(main: Callable[[], None]) -> None:
    """Run a stage's ``main``; an error the user can mend becomes one line and exit code 1."""
    try:
        main()
    except SerError as error:
        sys.exit(f"ser-features: {error}")
    except OSError as error:
        if refused := paths.refusal(error):
            sys.exit(f"ser-features: {refused}")
        raise
