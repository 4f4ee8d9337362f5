"""The optimizer laboratory: what an update is (`core.optim`) and how a study runs (`core.lab`)."""
