"""For all tests and what they start: one thread, as in a shard, so that sums over threads do not depend on
the machine, and processes side by side do not wait for each other."""

from __future__ import annotations

import os
import signal

import torch
from hypothesis import settings
from threadpoolctl import threadpool_limits

pytest_plugins = ["tests.tally"]

torch.set_num_threads(1)
threadpool_limits(1, user_api="blas")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# A shell starts what it runs in the background deaf to Ctrl-C, and children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# The first example of a property pays for torch's imports and caches; a deadline would measure that.
# CI tries the same examples each time, so that what it says is about the change; at a desk they are fresh.
settings.register_profile("vhat", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("vhat")
