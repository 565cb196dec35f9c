# Backfleet's commands for people and for continuous integration. `make help` lists them.

GO        ?= go
TESTFLAGS ?=
TOOL      := $(GO) tool -modfile=test/tools/go.mod
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT    ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
IMAGE     ?= backfleet:$(VERSION)
STAMP      = -X github.com/backfleet/backfleet/internal/observe.version=$(VERSION) \
             -X github.com/backfleet/backfleet/internal/observe.commit=$(COMMIT)
# Everything but the whole-fleet tests; these run under the race detector.
PACKAGES   = $(shell $(GO) list ./... | grep -v '/backfleet/test/')

.DEFAULT_GOAL := help
.PHONY: help build image demo demo-phases test containers contained cluster lint fmt vuln bench bench-parts chaos fuzz clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/backfleet, static and with its version
	CGO_ENABLED=0 $(GO) build -trimpath -tags grpcnotrace -ldflags "$(STAMP)" -o bin/backfleet ./cmd/backfleet

image: ## build the container image (IMAGE=name:tag VERSION=v1.2.3)
	docker build -f deploy/image/Dockerfile --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) \
		--build-arg CREATED=$$(date -u +%Y-%m-%dT%H:%M:%SZ) -t $(IMAGE) $(IMAGEFLAGS) .

demo: ## a whole backfill on this machine, with real servers and real data (DEMOFLAGS="--rows 1000000 --keep")
	@test/setup.sh
	@$(GO) run ./test/demo $(DEMOFLAGS)

demo-phases: ## docs/five-phases.md's worked example on this machine, mistakes included, in two minutes (DEMOFLAGS="--rows 300000")
	@test/setup.sh
	@$(GO) run ./test/demophases $(DEMOFLAGS)

test: ## all tests, with real PostgreSQL and NATS servers (TESTFLAGS=-v shows each)
	@test/setup.sh race versions pgbouncer systemd prometheus net browser
	$(GO) test -race -timeout 10m $(TESTFLAGS) $(PACKAGES)
	$(GO) test -p 1 -timeout 30m $(TESTFLAGS) ./test/...
	$(GO) -C test/deploy/chart test -timeout 15m $(TESTFLAGS) ./...
	$(GO) -C test/grafana test $(TESTFLAGS) ./...
	$(GO) -C test/browser test -timeout 20m $(TESTFLAGS) ./...

# The tests that ask most of their servers: start, restart, kill, stream, failing and coming back under a whole fleet.
CONTAINED = ^(TestStandbyStreams|TestServersRunWhereTheyShould|TestPostgresSurvivesKill|TestNATSStore|TestNothingOutlivesAKilledProgram|TestVictim|$\
	TestEveryRowExactlyOnce|TestAnotherCoordinatorGoesOn|TestKillNATS|TestServers)$$/^(PostgresDies)?$$
containers: ## what needs Docker: the image, Compose, and tests whose servers run in containers (starts a daemon where none runs)
	@test/setup.sh docker
	test/docker.sh $(MAKE) --no-print-directory contained
contained:
	test/images/build.sh
	$(GO) -C test/containers test -count=1 -timeout 10m $(TESTFLAGS) ./...
	BACKFLEET_TEST_SERVERS=containers $(GO) test -count=1 -timeout 10m $(TESTFLAGS) -run '$(CONTAINED)' ./test/harness ./test/fleet ./test/faults

cluster: ## the chart on a real Kubernetes, built from Go's modules and run on this machine (CLUSTERFLAGS="-test.run Fleet")
	@test/setup.sh kube
	test/kube/run.sh -test.v $(CLUSTERFLAGS)

lint: ## gofmt, go vet, staticcheck, golangci-lint with the import rules, govulncheck
	@unformatted=$$(gofmt -l .); \
	if [ -n "$$unformatted" ]; then echo "not gofmt'd (run make fmt):"; echo "$$unformatted"; exit 1; fi
	$(GO) mod tidy -diff
	$(GO) -C test/browser mod tidy -diff
	$(GO) -C test/bench/pgroll mod tidy -diff
	$(GO) vet ./...
	$(GO) -C test/containers vet ./...
	$(GO) -C test/browser vet ./...
	$(GO) -C test/bench/pgroll vet ./...
	$(TOOL) staticcheck ./...
	$(TOOL) golangci-lint run
	@test/vuln.sh

fmt: ## format all Go files
	gofmt -w .

bench: ## against all that people would pick instead, into docs/benchmarks.md; goes on where it was ended (BENCHFLAGS="-reps 5 -only quiet/uuid")
	@test/setup.sh
	$(GO) run ./test/bench -parts compare -out test/bench/results -docs docs $(BENCHFLAGS)

bench-parts: ## the other benchmarks, as ratios within one run (BENCHFLAGS="-parts throughput,fence -reps 5")
	@test/setup.sh
	$(GO) run ./test/bench $(BENCHFLAGS)

chaos: ## a real fleet under random faults, then its whole history checked (SEED=n MINUTES=m; else a random seed and 3)
	@test/setup.sh pgbouncer
	@$(GO) run ./test/chaos -seed $(or $(SEED),0) -minutes $(or $(MINUTES),3) $(CHAOSFLAGS)

fuzz: ## every fuzz test for a short time (FUZZTIME=20s each)
	@test/fuzz.sh

clean: ## remove what was built, and the demo's downloads
	rm -rf bin "$${XDG_CACHE_HOME:-$$HOME/.cache}/backfleet"
