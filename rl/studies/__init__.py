"""One file a claim about policy gradients."""
