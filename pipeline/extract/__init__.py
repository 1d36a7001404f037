"""Stage ``extract``: features of all clips, through the clip cache, into shards."""
