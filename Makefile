# The tasks of this tree. Go is all that building needs; the tests bring what else they need.

GO ?= go
FUZZTIME ?= 10s

.DEFAULT_GOAL := help
.PHONY: help check test bench fuzz run reports nightly

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check: ## format, vet, lint (where golangci-lint is installed), tests without PostgreSQL and Redis
	@bad=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$bad" ] || { echo "not formatted: $$bad" >&2; exit 1; }
	$(GO) vet ./...
	@if command -v golangci-lint >/dev/null; then golangci-lint run; else echo "golangci-lint is not installed: skipped"; fi
	TOLLGATE_TEST_REQUIRE= $(GO) test ./...

test: ## everything, on SQLite and PostgreSQL, memory and Redis, with the race detector (what CI runs)
	scripts/test

bench: ## figures of this machine: CPU against a bare reverse proxy, memory, and the parts
	scripts/bench

fuzz: ## every fuzz target for FUZZTIME (10s)
	scripts/fuzz $(FUZZTIME)

run: ## the demo: go run ./cmd/tollgate demo
	$(GO) run ./cmd/tollgate demo

reports: ## the figures that the catalogue shows, measured anew on this machine, which should be quiet: make reports DATA=folder
	$(GO) build -o reports.new ./cmd/tollgate
	for f in translate text speech vision assist recommend; do \
		./reports.new evaluate $$f -json -data "$(DATA)" -scale 1000000 >reports.json && mv reports.json internal/engine/reports/$$f.json || exit 1; \
	done
	rm -f reports.new

nightly: ## the long runs: everything with TOLLGATE_NIGHTLY=1, then ten minutes of every fuzz target
	TOLLGATE_NIGHTLY=1 TEST_TIMEOUT=12h scripts/test
	scripts/fuzz 10m
