"""Stage ``report``: figures, tables and the page; and the words that all outputs share."""
