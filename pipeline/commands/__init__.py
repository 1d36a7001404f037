"""Commands of ``ser-features``: text into objects, one call, one line."""
