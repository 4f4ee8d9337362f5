"""The optimizer laboratory: what an update is (`core.optim`) and how a study runs (`core.lab`)."""

import os

# MKL picks its kernel by where in memory a matrix begins, so that on some processors a replica's last bits
# depend on its place in the batch. In this mode they do not. It asks when it first computes.
os.environ.setdefault("MKL_CBWR", "AUTO")
