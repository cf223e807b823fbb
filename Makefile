# The verbs of this repository. `make` lists them; each one can be run again at any time.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The toolchain is pinned by rust-toolchain.toml; another `cargo` may be named here.
CARGO ?= cargo
BENCH_ARGS ?=
# Twenty minutes from seed 1; `TORTURE_ARGS='fault stop --seed 17 --trials 1'` runs one trial again.
TORTURE_ARGS ?= all --budget 1200 --seed 1

.PHONY: help run test check bench bench-peers torture fmt build rig bootstrap clean

help: ## list the verbs (this is what plain `make` does)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## install what is missing, build, start `fermata dev`, take the tour, serve until Ctrl-C (CI=true: end after the tour)
	@exec scripts/run.sh

test: build rig ## install what is missing, build, run the whole test suite
	@CARGO='$(CARGO)' scripts/test.sh

check: bootstrap ## formatting, lints and documentation, all strict
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --release --all-targets -- -D warnings
	$(CARGO) clippy --release -p fermata-engine -p fermata-api --features fermata-api/rigged --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --release --no-deps

bench: build ## measure this machine (BENCH_ARGS goes to `fermata bench`)
	@exec "$${CARGO_TARGET_DIR:-target}/release/fermata" bench $(BENCH_ARGS)

bench-peers: bootstrap ## Fermata, its peers and the machine's limit, side by side: a table and a picture (see tests/peers/README.md)
	@exec tests/peers/run.sh

torture: build rig ## throw crashes, cuts and freezes at it, and check what it promised (TORTURE_ARGS goes to the rig)
	@exec "$${CARGO_TARGET_DIR:-target}/release/fermata-torture" $(TORTURE_ARGS)

fmt: ## format all Rust code
	$(CARGO) fmt --all

build: bootstrap ## build the programs into target/release
	@$(CARGO) build --release -p fermata-api -p fermata-demo-site

rig: bootstrap ## build the torture rig and the program that it can tell to fall
	@$(CARGO) build --release --workspace --bins
	@$(CARGO) build --release -p fermata-api --features rigged --bin fermata-rigged

bootstrap: ## install what this machine is missing (Debian packages by name); quiet when nothing is
	@scripts/bootstrap.sh

clean: ## remove what was built; data folders stay
	$(CARGO) clean
