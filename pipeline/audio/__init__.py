"""Audio files: decoding, unsupported formats, and lengths stated in headers."""
