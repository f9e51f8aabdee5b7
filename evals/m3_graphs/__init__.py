"""M3-Agent's memory graphs: read from the pickles it publishes without running them (`pickled`), checked (`graph`)."""
