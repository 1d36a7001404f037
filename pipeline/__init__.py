"""Speech emotion recognition, from folders of audio to a number that can be trusted."""

from pipeline.core import machine

# Before any other import of this package, so that no program and no worker can be without it.
machine.fix_environment()
machine.install_excepthook()
