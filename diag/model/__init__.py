"""Frozen records that travel from collectors to renderers; they import nothing else of diag."""
