"""``corpora find``, ``fetch`` and ``verify``: corpora from disk or from their publishers."""
