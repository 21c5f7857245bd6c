.DEFAULT_GOAL := help
.PHONY: help doctor setup image images up status verify down \
        lint unit sanity integration end-to-end molecule faults test bench

# The system's own Python, if it will do: distributions build theirs with optimisations that save Ansible a quarter of
# its time, and that versions built at home often lack.
PYTHON ?= $(shell /usr/bin/python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
            && echo /usr/bin/python3 || echo python3)
TAG    ?= bookworm
TAGS   := bullseye bookworm bookworm-systemd trixie sid
SUITES ?= bookworm
SCENARIOS ?= default systemd plain topology version-13 version-17 version-18
VENV   := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

help:  ## Show this help
	@sed -n 's/^\([a-z-]*\):.*  ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

doctor:  ## Say in one sentence what this machine lacks, if anything
	@PYTHON=$(PYTHON) scripts/doctor

setup: doctor $(VENV)/.stamp  ## Create the virtual environment

$(VENV)/.stamp: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@touch $@

image: doctor  ## Build the node image where its inputs changed (TAG=bookworm)
	@docker/build $(TAG)

images: image  ## Build every node image that the tests run on
	@printf '%s\n' $(TAGS) | xargs -P 2 -n 1 docker/build

up: setup image  ## Build, start, replicate and prove the two containers
	ansible-playbook playbooks/site.yml

status: setup  ## Show who streams from whom
	@ansible-playbook playbooks/status.yml

verify: setup  ## Prove that replication works; changes nothing
	ansible-playbook playbooks/verify.yml

down: setup  ## Remove the containers, their network and their volumes
	ansible-playbook playbooks/teardown.yml

lint: setup  ## Lint YAML, Python and types
	ruff check .
	ruff format --check .
	mypy
	ansible-lint --offline

unit: setup  ## Run the unit tests
	pytest

sanity: setup  ## Run ansible-test sanity on a copy of the tracked files
	scripts/sanity

integration: setup images  ## Try each module on real servers (SUITES=bookworm, or more of them)
	WALSTREAM_TEST_SUITES="$(SUITES)" pytest tests/integration --numprocesses 2 --dist loadfile

end-to-end: setup images  ## Try the playbooks with trouble on purpose, two topologies at a time
	pytest tests/end_to_end --numprocesses 2 --dist loadfile

molecule: setup images  ## Run molecule scenarios, two at a time (SCENARIOS="default topology")
	@scripts/scenarios $(SCENARIOS)

faults: setup images  ## Integration and end to end with what is slow: kills at every task boundary and at any moment
	WALSTREAM_FAULTS=1 WALSTREAM_TEST_SUITES="$(SUITES)" pytest tests/integration tests/end_to_end

bench: setup image  ## Measure what we cost against the plain tools; not part of test
	python tests/bench/bench.py

test: lint unit sanity integration end-to-end molecule  ## What continuous integration runs
