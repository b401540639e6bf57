# Every target is one line of Go tool or one script that can be run by hand.
SHELL := /bin/sh
export CGO_ENABLED ?= 0
export GOFLAGS := -trimpath -buildvcs=false
LINT_VERSION := v2.15.0
LINT := $(shell go env GOPATH)/bin/golangci-lint-$(LINT_VERSION)
FUZZTIME ?= 1m

.PHONY: help build check fmt lint test test-unit test-root test-vm test-fuzz e2e night bench up down install uninstall demo demos deb man plugins plugins-push

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

build: ## static binaries into bin/
	go build -o bin/ ./cmd/...
	ln -sf docker-mos bin/docker-set

check: lint ## format, lint, vet, modern Go
	go vet ./...
	go fix -diff ./...

lint: $(LINT)
	$(LINT) fmt --diff
	$(LINT) run ./...

fmt: $(LINT) ## write the formatting that check asks for
	$(LINT) fmt

$(LINT):
	GOBIN=$(dir $(LINT)) CGO_ENABLED=1 go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv $(dir $(LINT))golangci-lint $(LINT)

test: ## everything: all rings, with a summary line (installs what it needs)
	test/all

test-unit: ## ring 0: pure packages and fakes; needs nothing
	test/ring unit

test-root: ## ring 1: real Open vSwitch, links, rules and engines in private namespaces
	test/ring root

test-vm: ## ring 2: what needs a whole system, in a VM
	test/ring vm
	test/ring kernel

e2e: ## ring 3: scenarios through the docker command only
	test/ring e2e

test-fuzz: ## every fuzz target for FUZZTIME (1m)
	test/fuzz $(FUZZTIME)

night: ## the long forms: all orders of two restarts, churn, fuzzing, benchmarks
	test/night

bench: ## networks, volumes and sets beside their peers, as ratios
	test/ring bench

up: man ## the bundle in the background on this machine
	deploy/up

down: ## stop what up started and take its networks away
	deploy/down

demo: up ## up, then two containers talk over Open vSwitch
	deploy/demo

demos: ## on a host with mosd: buffered writes of a neighbor, a dockerd that hangs, want of memory
	demos/oom
	demos/hang
	demos/io

man: build ## manual pages of what the programs say with -h and --help, into bin/man
	rm -rf bin/man
	go run ./deploy/man bin bin/man

install: man ## binaries, units and CLI plugins on a host with systemd
	deploy/install

uninstall: ## take away what install put there; data stays
	deploy/install --remove

deb: ## a Debian package of the bundle, into bin/
	deploy/deb

plugins: ## managed plugins, each a folder below bin/plugins for docker plugin create
	plugin-configs/build

plugins-push: plugins ## push them: make plugins-push REGISTRY=127.0.0.1:5000 [TAG=latest]
	plugin-configs/push "$(REGISTRY)" $(TAG)
