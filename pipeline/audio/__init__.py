"""Audio files: decoding, formats, and how long a file says it is."""
