"""Stage ``ingest``: from a corpus to its manifest."""
