# What a person types. `make run` and `make test` each do their own set-up on a fresh machine.
.DEFAULT_GOAL := help
.PHONY: help run stop test check lock

help:  ## these commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

lock:  ## pin the dependencies of pyproject.toml anew
	.venv/bin/uv pip compile pyproject.toml --extra build $(LOCK) -o deploy/requirements.txt
	.venv/bin/uv pip compile pyproject.toml --extra build --extra dev $(LOCK) -o deploy/requirements-dev.txt

LOCK := --quiet --upgrade --python-version 3.11 --universal --generate-hashes --no-header --no-emit-index-url --no-emit-find-links
