# Targets of Hygeia; `make` alone lists them. .ci/run uses the same ones.
# Tests run with -count=1: the cache of go test does not see that a test which
# builds the program, or lists the packages, depends on all of them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
GO ?= go
TIMEOUT ?= 20m
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)
PLATFORMS ?= linux/amd64 linux/arm64 darwin/arm64 windows/amd64

.PHONY: help build test race lint vuln e2e bench gen cover release notices

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the static binary, bin/hygeia
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/hygeia ./cmd/hygeia

test: ## gofmt, vet, a static build and every test
	@out=$$(gofmt -l .); if [ -n "$$out" ]; then echo "not gofmt-ed:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	CGO_ENABLED=0 $(GO) build ./...
	CGO_ENABLED=0 $(GO) test -count=1 -timeout $(TIMEOUT) ./...

race: ## every test under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -count=1 -timeout 30m ./...

lint: ## the architecture test and golangci-lint
	$(GO) vet ./...
	$(GO) test -count=1 ./test/arch
	@command -v golangci-lint >/dev/null || { echo "golangci-lint is not installed: https://golangci-lint.run/docs/welcome/install/"; exit 1; }
	golangci-lint run ./...

vuln: ## known vulnerabilities in what the binary calls, where the database can be reached
	@.ci/vuln

e2e: ## only the tests that start the real binary
	CGO_ENABLED=0 $(GO) test -count=1 -timeout $(TIMEOUT) ./test/...

bench: ## the Go benchmarks (a running server is measured by `hygeia bench`)
	$(GO) test -run '^$$' -bench . -benchmem ./bench

gen: ## generated files: docs/config.md; with R4_PACKAGE=FILE.tgz also the R4 tables
	$(GO) test ./server -update
	@if [ -n "$(R4_PACKAGE)" ]; then R4_PACKAGE="$(abspath $(R4_PACKAGE))" $(GO) generate ./spec/r4; \
	else echo "R4_PACKAGE is not set: spec/r4/r4.bin.zst stays as it is"; fi

cover: ## test coverage by function, bin/cover.out
	@mkdir -p bin
	$(GO) test -timeout $(TIMEOUT) -coverpkg=./... -coverprofile=bin/cover.out ./...
	$(GO) tool cover -func=bin/cover.out | tail -n 1

notices: ## the licence texts of all linked modules, bin/release/NOTICES.txt
	@mkdir -p bin/release
	@$(GO) list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/hygeia | sort -u | grep . | while read -r path version dir; do \
	  echo "=== $$path $$version"; find "$$dir" -maxdepth 1 -type f \( -iname 'licen*' -o -iname 'copying*' -o -iname 'notice*' \) | sort | while read -r f; do cat "$$f"; echo; done; \
	done > bin/release/NOTICES.txt

release: notices ## static binaries with checksums, bin/release
	@mkdir -p bin/release
	@for p in $(PLATFORMS); do os=$${p%/*}; arch=$${p#*/}; ext=; [ $$os = windows ] && ext=.exe; \
	  echo "hygeia-$$os-$$arch$$ext"; \
	  CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/release/hygeia-$$os-$$arch$$ext ./cmd/hygeia || exit 1; \
	done
	cd bin/release && sha256sum hygeia-* > SHA256SUMS
