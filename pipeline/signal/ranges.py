"""Say no to a setting that cannot work, naming it as params.yaml does."""

from collections.abc import Mapping

from pipeline.errors import SettingError


def expect(config: object, section: str, rules: Mapping[str, tuple[bool, str]]) -> None:
    """Check the fields of a section, each with whether it holds and what was expected.

    Raises:
        SettingError: the first field that does not hold.
    """
    for name, (holds, expected) in rules.items():
        if not holds:
            raise SettingError(f"params.yaml: {section}.{name} is {getattr(config, name)!r}, expected {expected}.")
