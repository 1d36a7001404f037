"""Stage ``report``: figures, tables and the report page; also the model card and the wording of results."""
