"""From a question (a path, a pid, a log) to a snapshot: collect, link, look at the holders next."""
