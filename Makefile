# JACO: build, test, demo, benchmarks. Every target installs what it needs on a Debian 12 machine (root).

SHELL := /bin/bash
CARGO ?= cargo
PREFIX ?= /usr/local
export CARGO_TERM_COLOR ?= auto

.PHONY: help build release test quick fmt lint policy unit integration e2e demo bench install clean

help:
	@echo "make demo     a one-node cluster in a throw-away directory, with an example behind the ingress"
	@echo "make test     everything: format, lints, policy, unit, property, crash and end-to-end tests"
	@echo "make quick    the fast part of it: format, lints, policy, unit tests"
	@echo "make bench    the figures, each beside its floor or peer"
	@echo "make release  optimised programs in target/release"
	@echo "make install  programs and units below DESTDIR (PREFIX=$(PREFIX))"

build:
	$(CARGO) build --locked --workspace

release:
	$(CARGO) build --locked --release -p jacod -p jaco

# The rings, fastest first: a typo fails within a minute.
test: quick integration e2e
	@echo "make test: all rings passed"

quick: fmt lint policy unit

fmt:
	@echo "== format"
	$(CARGO) fmt --all --check

lint:
	@echo "== lints"
	@.ci/install build
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

policy:
	@echo "== directions, licences, error pages"
	$(CARGO) test --locked --quiet -p jaco-e2e --test policy

unit:
	@echo "== unit and property tests"
	$(CARGO) test --locked --workspace --lib --bins

# Tests of one crate on the real thing: openraft's storage suite, power cuts on a loop image, a real engine.
integration:
	@echo "== tests on real disks, sockets and a real engine"
	@.ci/install test
	$(CARGO) test --locked --workspace --exclude jaco-e2e --test '*'

e2e:
	@echo "== the real programs on a real engine"
	@.ci/install test
	$(CARGO) build --locked -p jacod -p jaco
	$(CARGO) test --locked -p jaco-e2e -- --nocapture --test-threads 1

demo:
	@tests/demo/run

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
