# JACO: build, test, demo, benchmarks. Every target installs what it needs on a Debian 12 machine (root).

SHELL := /bin/bash
CARGO ?= cargo
PREFIX ?= /usr/local
export CARGO_TERM_COLOR ?= auto

.PHONY: help build release test quick fmt lint policy unit integration e2e demo lab sim soak bench install clean

help:
	@echo "make demo     a one-node cluster in a throw-away directory, with an example behind the ingress; NODES=3: three hosts, one dies"
	@echo "make lab      HOSTS=3 hosts on this machine, each with its own network, engine and jacod, to play with; jaco-lab down ends it"
	@echo "make test     everything: format, lints, policy, unit, property, crash and end-to-end tests"
	@echo "make quick    the fast part of it: format, lints, policy, unit tests"
	@echo "make sim      SEEDS=100 simulated clusters that everything happens to, from SEED=1 on; a failure prints its seed and trace"
	@echo "make soak     CUTS=50 cuts of an exclusive service's node, then MINUTES=60 of load; two must never run, nobody be elected"
	@echo "make bench    the figures, each beside its floor or peer"
	@echo "make release  optimised programs in target/release"
	@echo "make install  programs and units below DESTDIR (PREFIX=$(PREFIX))"

build:
	$(CARGO) build --locked --workspace

release:
	$(CARGO) build --locked --release -p jacod -p jaco

# The rings, fastest first: a typo fails within a minute or two. Every step names the whole workspace, as a build of fewer members
# resolves other features and compiles the libraries once more.
test: quick integration
	@echo "make test: all rings passed"

quick: fmt lint policy unit

fmt:
	@echo "== format"
	$(CARGO) fmt --all --check

lint:
	@.ci/install build
	@echo "== lints"
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

policy:
	@echo "== directions, licences, error pages"
	$(CARGO) test --locked --quiet --workspace --test policy

unit:
	@echo "== unit and property tests"
	@.ci/install test
	$(CARGO) test --locked --workspace --lib --bins

# What needs the real thing: openraft's storage suite, power cuts on a loop image, sockets, a real engine, the real programs.
integration:
	@.ci/install test
	@echo "== tests on real disks, sockets and a real engine; the real programs from end to end"
	$(CARGO) build --locked --workspace --bins
	JACO_SIM_SEEDS=$${JACO_SIM_SEEDS:-300} JACO_REQUIRE_ENGINE=1 $(CARGO) test --locked --workspace --test '*' -- --nocapture

# The end-to-end tests alone.
e2e:
	@.ci/install test
	$(CARGO) build --locked --workspace --bins
	JACO_REQUIRE_ENGINE=1 $(CARGO) test --locked --workspace --test one_node --test restart --test crash --test bad_input --test lab --test cluster --test soak -- --nocapture

# NODES=3: several hosts, one of which is killed.
NODES ?= 1
demo:
	@NODES=$(NODES) tests/demo/run

# Several hosts, left up: target/debug/jaco-lab says what can be done with them.
HOSTS ?= 3
lab:
	@.ci/install test
	$(CARGO) build --locked --workspace --bins
	@target/debug/jaco-lab up $(HOSTS)

# A failing seed again: make sim SEEDS=1 SEED=n.
SEEDS ?= 100
SEED ?= 1
sim:
	$(CARGO) build --locked --workspace --bins
	@target/debug/jaco-sim --seeds $(SEEDS) --seed $(SEED)

# Exclusive services under cuts (JACO_SOAK_SEED: the order of an earlier run), then load that must elect nobody.
CUTS ?= 50
MINUTES ?= 60
soak:
	@.ci/install test
	$(CARGO) build --locked --workspace --bins
	JACO_REQUIRE_ENGINE=1 JACO_SOAK_CUTS=$(CUTS) JACO_SOAK_MINUTES=$(MINUTES) $(CARGO) test --locked --workspace --test soak -- --nocapture

bench:
	@.ci/install bench
	@tests/bench/run

install: release
	install -D -m 0755 target/release/jacod $(DESTDIR)$(PREFIX)/bin/jacod
	install -D -m 0755 target/release/jaco $(DESTDIR)$(PREFIX)/bin/jaco
	install -D -m 0644 systemd/jaco.service $(DESTDIR)/lib/systemd/system/jaco.service
	install -D -m 0644 systemd/jaco.socket $(DESTDIR)/lib/systemd/system/jaco.socket
	[ -e $(DESTDIR)/etc/jaco/jacod.yaml ] || install -D -m 0644 packaging/jacod.yaml $(DESTDIR)/etc/jaco/jacod.yaml

clean:
	$(CARGO) clean
