"""Shared by every stage: settings, errors, files, labels and tables."""
