"""Networks: a registry of ``name -> build(shape, classes, config)``, free of any backend's own calls."""
