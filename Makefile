# Backfleet's commands for people and for continuous integration. `make help` lists them.

GO        ?= go
TESTFLAGS ?=
TOOL      := $(GO) tool -modfile=test/tools/go.mod
# Everything but the whole-fleet tests; these run under the race detector.
PACKAGES   = $(shell $(GO) list ./... | grep -v '/backfleet/test/')

.DEFAULT_GOAL := help
.PHONY: help build demo test lint fmt vuln bench fuzz clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/backfleet
	$(GO) build -trimpath -o bin/backfleet ./cmd/backfleet

demo: ## a whole backfill on this machine, with real servers and real data (DEMOFLAGS="--rows 1000000 --keep")
	@test/setup.sh
	@$(GO) run ./test/demo $(DEMOFLAGS)

test: ## all tests, with real PostgreSQL and NATS servers (TESTFLAGS=-v shows each)
	@test/setup.sh race systemd prometheus net
	$(GO) test -race -timeout 10m $(TESTFLAGS) $(PACKAGES)
	$(GO) test -p 1 -timeout 15m $(TESTFLAGS) ./test/...
	$(GO) -C test/deploy/chart test -timeout 15m $(TESTFLAGS) ./...
	$(GO) -C test/grafana test $(TESTFLAGS) ./...

lint: ## gofmt, go vet, staticcheck, golangci-lint with the import rules, govulncheck
	@unformatted=$$(gofmt -l .); \
	if [ -n "$$unformatted" ]; then echo "not gofmt'd (run make fmt):"; echo "$$unformatted"; exit 1; fi
	$(GO) mod tidy -diff
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	$(TOOL) golangci-lint run
	@test/vuln.sh

fmt: ## format all Go files
	gofmt -w .

bench: ## the benchmarks, as ratios within one run (test/bench)
	@test/setup.sh
	$(GO) run ./test/bench $(BENCHFLAGS)

fuzz: ## every fuzz test for a short time (FUZZTIME=20s each)
	@test/fuzz.sh

clean: ## remove what was built, and the demo's downloads
	rm -rf bin "$${XDG_CACHE_HOME:-$$HOME/.cache}/backfleet"
