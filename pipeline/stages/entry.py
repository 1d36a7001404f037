"""How a stage, or a benchmark, starts and ends when it is run as a program."""

import sys
from collections.abc import Callable

from pipeline import machine, paths
from pipeline.errors import SerError


def stage(main: Callable[[], None]) -> None:
    """Run a program's ``main``; an error the user can mend becomes one line and exit code 1."""
    machine.show_all_letters()
    try:
        machine.refuse_other_names()
        main()
    except SerError as error:
        sys.exit(f"ser-features: {error}")
    except OSError as error:
        if refused := paths.refusal(error):
            sys.exit(f"ser-features: {refused}")
        raise
