# Two commands: `make reproduce` (all studies, quick plan, report) and `make test` (lint, types, tests).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PLAN ?= quick
OUT ?= out

.DEFAULT_GOAL := help
.PHONY: help reproduce bench test soak lint types lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# The stamp is written last: an install that was cut short is taken up again, a finished one costs nothing.
# The environment is made without pip and filled by the system's: torch first, in the build that the lock names.
$(VENV)/.ready: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv --without-pip $(VENV)
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.ready-bench: $(VENV)/.ready
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

reproduce: $(VENV)/.ready  ## run every study (PLAN=tiny|quick|full), write the report, print the verdicts
	@$(BIN)/python scripts/reproduce.py --plan $(PLAN) --out $(OUT)

# A few minutes; each benchmark by itself, with more turns, measures finer (see its --help).
bench: $(VENV)/.ready-bench  ## measure speed against other libraries; `vhat report` then shows it
	$(BIN)/python scripts/bench/optim_step.py --turns 9 --out $(OUT)
	$(BIN)/python scripts/bench/sweep.py --turns 5 --seconds 0.3 --out $(OUT)
	$(BIN)/python scripts/bench/hypergradient.py --turns 3 --seconds 0.3 --out $(OUT)
	$(BIN)/python scripts/bench/rl_throughput.py --turns 3 --updates 20 --out $(OUT)
	$(BIN)/python scripts/bench/gan_throughput.py --turns 3 --seconds 0.3 --out $(OUT)
	$(BIN)/python scripts/bench/frontier.py --turns 5 --out $(OUT)
	$(BIN)/python scripts/bench/reader.py --out $(OUT)

test: lint types  ## lint, types, tests
	$(BIN)/python -m pytest -n auto --dist worksteal -q

# The same tests as `vhat doctor --full`; what they count is stored, and `vhat report` shows it on its page on trust.
# Stopped and called again, it goes on with what has no figures of this very code yet (all anew: remove $(OUT)/trust).
soak: $(VENV)/.ready-dev  ## kill, damage and mistreat it for up to three hours; store the figures
	VHAT_TRUST=$(abspath $(OUT))/trust VHAT_TRUST_GO_ON=1 $(BIN)/python -m pytest -n auto --dist worksteal -q -m 'soak or trust'

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready-dev
	$(BIN)/mypy

lock: $(VENV)/.ready-dev $(VENV)/.ready-bench  ## write constraints.txt: what is installed, every extra among it
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check -c constraints.txt -e '.[box2d,mujoco,cluster,tensorboard,parquet]'
	$(PYTHON) -m pip --python $(BIN)/python freeze --exclude-editable | sed -E 's/\+cpu$$//' > constraints.txt

clean:  ## remove the environment; results in out/ stay
	rm -rf $(VENV) *.egg-info
