"""One source a file: a pure parse function and a thin collect. No opinions."""
