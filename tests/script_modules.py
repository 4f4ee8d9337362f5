"""Scripts as modules: what they say needs no process of its own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def script_module(path: Path) -> ModuleType:
    """The script at `path` under `scripts`, loaded once in this process."""
    name = "script_" + "_".join(path.relative_to(SCRIPTS).with_suffix("").parts)
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)  # its dataclasses look there
        spec.loader.exec_module(module)
    return sys.modules[name]
