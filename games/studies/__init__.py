"""Studies of two-player games, one claim a file."""
