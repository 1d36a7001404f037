"""The commands of ``ser-features``."""
