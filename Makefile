# What a person types. `make run` and `make test` each do their own set-up on a fresh machine.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.PHONY: help run join stop test check bench faults lock

CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11
ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON := $(shell for p in $(CANDIDATES); do $$p -c '$(ENOUGH)' 2>/dev/null && echo $$p && break; done)
WITH = $(or $(PYTHON),$(error DCloud needs Python 3.11 or newer: install python3.11 or a later one)) -m deploy.run

help:  ## these commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 15

run:  ## from a bare machine to a running environment
	@$(WITH) requirements.txt deploy.up

join:  ## this machine as one more host of an installation: DCLOUD_REDIS_URL=redis://… make join
	@$(WITH) requirements.txt deploy.join

stop:  ## end all of it; what environments stored is kept in var/
	@if [ -x .venv/bin/python ]; then .venv/bin/python -m deploy.down; else echo "Nothing was started here."; fi

test:  ## all tests, on a real Redis and a real engine; ARGS="tests/unit -k name" for some
	@$(WITH) requirements-dev.txt deploy.testing $(ARGS)

check:  ## format, lint, types, import rules, audit
	@$(WITH) requirements-dev.txt deploy.check

bench:  ## speed and quality as ratios; ONLY=ledger, start, api or pages for one group, QUICK=1 for small sizes
	@$(WITH) requirements-dev.txt deploy.benching $(if $(QUICK),--quick) $(ONLY)

faults:  ## the long searches and the long tests with kills; many minutes
	@DCLOUD_FAULTS=full PYTEST_TIMEOUT=7200 $(WITH) requirements-dev.txt deploy.testing $(or $(ARGS),-s tests/model tests/integration/test_ledger_machine.py $(wildcard tests/faults))

lock:  ## pin the dependencies of pyproject.toml anew
	.venv/bin/uv pip compile pyproject.toml --extra build $(PIN) -o deploy/requirements.txt
	.venv/bin/uv pip compile pyproject.toml --extra build --extra dev $(PIN) -o deploy/requirements-dev.txt

PIN := --quiet --upgrade --python-version 3.11 --universal --generate-hashes --no-header --no-emit-index-url --no-emit-find-links
