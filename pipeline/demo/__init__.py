"""Stage ``demo``: small corpora of synthetic speech."""
