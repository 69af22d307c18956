"""Real processes, seen from outside by the real command line."""
