"""Sound as arrays: float32 mono signals ``(samples,)`` in, features ``(frames, bins)`` out; no files."""
