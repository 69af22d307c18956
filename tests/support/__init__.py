"""What the live tests stand on: interpreters, programs, servers, and the real command line."""
