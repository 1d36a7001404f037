"""Corpora as interchangeable pages: who speaks, what a file name says, under which licence.

To add a corpus, copy the page nearest to yours, rewrite it, and name it in ``registry.KNOWN``: the conformance suite
in tests/test_corpora_pages.py finds it there. A published checksum table in ``tables/`` is welcome, not required.
"""
