"""One file a claim about the mechanism itself."""
