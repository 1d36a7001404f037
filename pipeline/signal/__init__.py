"""Sound as arrays: float32 mono signals of shape ``(samples,)``, full scale 1, in; arrays out; no path, no file."""
