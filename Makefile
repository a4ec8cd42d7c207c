# The two commands are `make demo` and `make test`; `make help` lists all.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
UV := $(shell command -v uv 2>/dev/null)
VENV := $(if $(UV),uv venv -q --seed --python $(PYTHON) .venv,$(PYTHON) -m venv .venv)
INSTALL := $(if $(UV),uv pip install -q --python $(BIN)/python,$(BIN)/python -m pip install -q)

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

demo: .venv/demo  ## install and open the explorer on http://localhost:7860
	$(BIN)/rd4ad serve

# The threads of two workers share cores: one that waits must not spin there.
test: .venv/dev  ## install and run the tests
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n 2 --dist loadfile -q

check: .venv/dev  ## format, lint, types and tests: what CI runs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@$(MAKE) --no-print-directory test

bench: .venv/dev  ## measure, write results/bench and docs/BENCHMARKS.md
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/many_maps.py
	$(BIN)/python benchmarks/commands.py
	$(BIN)/python benchmarks/significance.py
	$(BIN)/python benchmarks/inference.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/peers.py
	$(BIN)/python benchmarks/anomalib_maps.py
	$(BIN)/python benchmarks/patchcore.py
	$(BIN)/rd4ad bench
	$(BIN)/rd4ad bench --size-px 128 --out results/bench/methods-128.json
	$(BIN)/rd4ad bench --methods reverse_distillation padim spade --backbone wide_resnet50_2 \
	  --out results/bench/methods-wide.json
	$(BIN)/rd4ad bench --methods reverse_distillation --backbone resnet18 compact resnet50 \
	  --size-px 256 128 --out results/bench/methods-backbones.json
	$(BIN)/python benchmarks/cluster.py
	$(BIN)/python benchmarks/lost_node.py
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/visit.py
	$(BIN)/python benchmarks/questions.py
	$(BIN)/python benchmarks/tour.py
	$(BIN)/python benchmarks/soak.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/readers.py
	$(BIN)/python benchmarks/teach.py
	$(BIN)/python benchmarks/footprint.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/study.py

bench-gpu: .venv/dev  ## on a machine with a GPU: measure inference and training there
	$(BIN)/python benchmarks/gpu.py
	$(BIN)/python benchmarks/report.py

bench-quick: .venv/dev  ## print the main ratios within two minutes, write nothing
	$(BIN)/python benchmarks/metrics.py --quick
	$(BIN)/python benchmarks/inference.py --quick
	$(BIN)/python benchmarks/training.py --quick

.venv/demo: requirements-serve.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "Installing into .venv: some minutes, once."
	test -x $(BIN)/python || $(VENV)
	$(INSTALL) -r requirements-serve.txt
	$(INSTALL) --no-deps -e .
	@touch $@

.venv/dev: .venv/demo requirements.txt requirements-dev.txt
	$(INSTALL) -r requirements-dev.txt
	@touch $@

.PHONY: help demo test check bench bench-gpu bench-quick
