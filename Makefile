# SPDX-License-Identifier: LGPL-3.0-or-later
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help venv demo docs test test-mpi lint release-check docker-check clean

# Finds or makes the Python environment and runs a command in it.
ENV := ./.ci/environment
PICTURES := demos/output/rough_exchange
# One process for each part: MPICH has 2048 communicators, and what tests leave to the collectors of
# Python and PETSc keeps theirs.
comma := ,
empty :=
listed = $(subst $(empty) $(empty),$(comma),$(sort $(wildcard $(1))))
VERIFICATION := $(call listed,tests/verification/test_[a-o]*.py) $(call listed,tests/verification/test_[p-z]*.py)
# Tests of demos that start no ranks share the cores with the tests of the package.
SERIAL := $(addprefix tests/demos/test_,serial_demos.py grps_demos.py hmm_demos.py temporal_demos.py)
PARALLEL := $(filter-out $(SERIAL),$(wildcard tests/demos/test_*.py))
EVERYWHERE := $(subst $(empty) $(empty),$(comma),tests/unit tests/verification $(SERIAL))
ON_RANKS := 2:tests/unit $(addprefix 2:,$(VERIFICATION)) 3:tests/unit
# Options for pytest, e.g. make test PYTEST="-k exchange -x"
PYTEST :=

export OMP_NUM_THREADS := 1

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

venv: ## make or update the environment in .venv, and only that
	@$(ENV) --venv python3 -c 'import sys; print("Ready:", sys.prefix)'

demo: ## the main job: dynamics in a rough material, on 2 ranks, with a picture
	@$(ENV) mpirun -n 2 python3 demos/demo_rough_exchange.py --output $(PICTURES)
	@echo; echo "Pictures:"; find "$(CURDIR)/$(PICTURES)" -name '*.png' | sort | grep . || \
		{ echo "none: the demo made no picture" >&2; exit 1; }

docs: ## the guide, in build/guide/html (from the registries of PyPI and npm: Sphinx, MathJax)
	@$(ENV) --docs python3 demos/guide/build.py

test: ## all tests on 1 rank, unit and verification tests on 2, unit tests on 3
	@$(ENV) python3 .ci/pytest_ranks.py 1x2:$(EVERYWHERE) 1:$(call listed,$(PARALLEL)) $(ON_RANKS) -- $(PYTEST)

test-mpi: ## only the runs on 2 and 3 ranks, verification on 3 ranks too
	@$(ENV) python3 .ci/pytest_ranks.py $(ON_RANKS) $(addprefix 3:,$(VERIFICATION)) -- $(PYTEST)

lint: ## lint, format and types, changing nothing
	@$(ENV) ruff check .
	@$(ENV) ruff format --check .
	@$(ENV) mypy

release-check: ## build wheel and sdist, try the wheel in an empty environment (PyPI, a minute)
	@$(ENV) python3 .ci/release.py

docker-check: ## build the Docker image with buildah; a demo, the guide and tests in it (as root)
	@./docker/check.sh

clean: ## remove results and caches (not .venv)
	rm -rf demos/output output build dist *.egg-info .venv-extras .venv-docs .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
