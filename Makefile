SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# What `make test` and `make lint` install with cargo when it is missing or of another version.
NEXTEST_VERSION := 0.9.148
DENY_VERSION := 0.20.2
# What `make image` installs.
AUDITABLE_VERSION := 0.7.7

CLUSTER ?= local
HISTORIES ?= 100000
OUTAGE_SECONDS ?= 30
TAKEOVERS ?= 100
STORMS ?= 10000
REPORTS ?= 1000000
AGREEMENT_SECONDS ?= 600
# The one before the present stable one has what is tested everywhere else.
RELEASES ?= trixie testing
SCRIPTS := hack/cluster/cluster hack/node/node hack/image/image hack/e2e/e2e hack/demo/demo hack/kubectl/kubectl_complete-storm hack/monitoring/versions hack/tools/tools hack/dashboard/look .ci/run
# The CRDs and the operator's account, as the cluster tests and benchmarks need them.
RIGHTS := --filename crds/ --filename manifests/base/namespace.yaml --filename manifests/base/rbac.yaml

.PHONY: help build test test-offline lint deny fmt crds schema manifests image image-push image-archive e2e e2e-kind demo demo-down bench-storm bench-idle bench-ledger bench-gateway bench-policies bench-replay search cluster-up cluster-down ci nextest cargo-deny cargo-auditable histories outage replicas agreement dashboard versions tls-tools redis alertmanager prometheus

help: ## List all targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-14s %s\n", $$1, $$2 }'

build: ## Build the operator (development profile)
	cargo build

image: cargo-auditable ## Build the container image localhost/stormfold:dev with docker, podman or buildah; IMAGE=NAME:TAG names it otherwise
	@IMAGE=$(IMAGE) hack/image/image build

image-push: ## Push it: IMAGE=NAME:TAG
	@IMAGE=$(or $(IMAGE),$(error name it as it was built: make image-push IMAGE=registry.example.com/stormfold:0.1.0)) hack/image/image push

image-archive: cargo-auditable ## The same as a docker archive: FILE=stormfold.tar
	@hack/image/image archive $(or $(FILE),$(error name the file: make image-archive FILE=stormfold.tar))

e2e: nextest cargo-auditable redis alertmanager ## Play the suite on a real node of this machine, as root on Linux; TESTS=FILTER plays some of it
	@CLUSTER=$(CLUSTER) hack/e2e/e2e

e2e-kind: nextest cargo-auditable redis alertmanager ## The same on kind, where a container engine answers
	@CLUSTER=kind hack/e2e/e2e

demo: tls-tools build ## Play a storm on a throwaway cluster; KEEP=1 leaves it up, CLUSTER=kind uses kind
	@CLUSTER=$(CLUSTER) KEEP=$(KEEP) hack/demo/demo

demo-down: ## End what `make demo KEEP=1` left up
	@hack/demo/demo down

test: tls-tools nextest redis alertmanager prometheus build ## Run every test: offline ones, and, with either ledger, those against a throwaway API server
	cargo nextest run --no-run
	hack/cluster/cluster with bash -c 'kubectl apply $(RIGHTS) >/dev/null \
	  && cargo nextest run -E "not binary(e2e)" && TEST_LEDGER=redis cargo nextest run -E "binary(cluster) - test(/^(crd|outage|leading_load|crash::crash_redis)/)" \
	  && STOP_API_SERVER=1 cargo nextest run -E "binary(cluster) and test(/^gateway_alertmanager/)"'

test-offline: nextest redis prometheus ## Run the tests that need no API server
	cargo nextest run -E 'not (binary(cluster) or binary(e2e))'

search: nextest ## Search the protocol where a quick search does not reach: two replicas, commands one by one; minutes
	cargo nextest run --cargo-profile histories --profile histories -p stormfold-core --test protocol --run-ignored only

histories: nextest redis ## Play HISTORIES=100000 random histories of each kind against both ledgers
	STORMFOLD_HISTORIES=$(HISTORIES) cargo nextest run --cargo-profile histories --profile histories --test offline -E 'test(/^ledger::(contract|histories)/)'

outage: nextest redis build ## Take Redis away for OUTAGE_SECONDS=30 in each way, and print how long each recovery takes
	cargo nextest run --no-run
	hack/cluster/cluster with bash -c 'kubectl apply $(RIGHTS) >/dev/null \
	  && OUTAGE_SECONDS=$(OUTAGE_SECONDS) cargo nextest run --no-capture -E "binary(cluster) and test(/^outage/)"'

replicas: nextest redis build ## Kill TAKEOVERS=100 leaders with either ledger, and leaders under load, and print how long each takeover takes
	cargo nextest run --no-run
	hack/cluster/cluster with bash -c 'kubectl apply $(RIGHTS) >/dev/null && export STORMFOLD_TAKEOVERS=$(TAKEOVERS) \
	  && cargo nextest run --profile histories --no-capture -E "binary(cluster) and test(/^leading/)" \
	  && TEST_LEDGER=redis cargo nextest run --profile histories --no-capture -E "binary(cluster) and test(/^leading::/)"'

agreement: nextest redis alertmanager prometheus build ## Compare a real Alertmanager with the RemediationRequests once a second, for AGREEMENT_SECONDS=600 with either ledger
	cargo nextest run --no-run
	hack/cluster/cluster with bash -c 'kubectl apply $(RIGHTS) >/dev/null && export AGREEMENT_SECONDS=$(AGREEMENT_SECONDS) \
	  && cargo nextest run --profile histories --no-capture -E "binary(cluster) and test(/^agreement/)" \
	  && TEST_LEDGER=redis cargo nextest run --profile histories --no-capture -E "binary(cluster) and test(/^agreement::/)"'

versions: nextest build ## Run what tests real Alertmanagers and Prometheus with those of RELEASES="trixie testing" of Debian
	cargo nextest run --no-run
	RELEASES="$(RELEASES)" hack/monitoring/versions hack/cluster/cluster with bash -c 'kubectl apply $(RIGHTS) >/dev/null \
	  && cargo nextest run -E "binary(cluster) and test(/^real_prometheus|^gateway_alertmanager|^gateway_again|^alertmanager_/)"'

dashboard: build ## Open the dashboard of kubectl storm in a real Chromium with STORMS=5000 open storms; OUT=DIRECTORY keeps pictures
	STORMS=$(if $(filter file,$(origin STORMS)),5000,$(STORMS)) OUT=$(OUT) hack/cluster/cluster with hack/dashboard/look

lint: deny ## Formatting, clippy, shellcheck, dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	@hack/tools/tools need shellcheck
	shellcheck $(SCRIPTS)

deny: cargo-deny ## Licences, sources and banned crates among the dependencies
	cargo deny --log-level error check bans licenses sources

fmt: ## Format the code
	cargo fmt --all

crds: ## Write crds/ from the types
	cargo run --quiet --package stormfold -- crds | awk -v RS='---\n' 'NF { match($$0, /name: [a-z]+\.stormfold/); file = "crds/" substr($$0, RSTART + 6, RLENGTH - 16) ".yaml"; printf "%s", $$0 > file }'

schema: ## Write docs/test-file.schema.json from the types
	cargo run --quiet --package stormfold -- test --schema > docs/.schema.json && mv docs/.schema.json docs/test-file.schema.json

manifests: ## Render manifests/install.yaml
	@$$(hack/cluster/cluster kubectl) kustomize manifests/base > manifests/.install.yaml && mv manifests/.install.yaml manifests/install.yaml

cluster-up: ## Start a throwaway API server; prints the path of its kubeconfig
	@hack/cluster/cluster up

cluster-down: ## End it
	@hack/cluster/cluster down

bench-storm: ## Measure storms on a real API server; a wrong count fails, a missed figure is printed; LEDGER=redis: on Redis, PARTS="latency": some
	cargo bench --bench storm --no-run
	hack/cluster/cluster with bash -c 'kubectl apply $(RIGHTS) >/dev/null \
	  && LEDGER=$(LEDGER) cargo bench --bench storm -- $(PARTS)'

bench-idle: ## Open STORMS=10000 storms and measure their rest and their ends, in minutes; LEDGER=redis: on Redis
	cargo bench --bench storm --no-run
	hack/cluster/cluster with bash -c 'kubectl apply $(RIGHTS) >/dev/null \
	  && LEDGER=$(LEDGER) STORMS=$(STORMS) cargo bench --bench storm -- idle'

bench-policies: ## Measure what 1,000 policies cost per edit and per Signal; a wrong policy fails, a missed figure is printed
	cargo bench --bench policies

bench-replay: ## Play a day of REPORTS=1000000 reports without a cluster: seconds and memory; a wrong count fails, a missed figure is printed
	REPORTS=$(REPORTS) cargo bench --bench replay

bench-ledger: redis ## Measure the Redis ledger beside the original design; QUICK=1: short, PARTS="merge memory flush batches fill churn": some
	QUICK=$(QUICK) cargo bench --bench ledger -- $(PARTS)

bench-gateway: alertmanager ## Measure the gateway beside Alertmanager's own API and the API server alone
	cargo bench --bench gateway --no-run
	hack/cluster/cluster with bash -c 'kubectl apply $(RIGHTS) >/dev/null && cargo bench --bench gateway'

ci: lint test ## What must pass before a change lands; CI plays the demo as well

tls-tools:
	@hack/tools/tools need openssl curl

redis:
	@hack/tools/tools need redis-server

alertmanager:
	@hack/tools/tools need prometheus-alertmanager

prometheus:
	@hack/tools/tools need prometheus promtool

nextest:
	@hack/tools/tools cargo nextest $(NEXTEST_VERSION)

cargo-auditable:
	@cargo install --list | grep -F 'cargo-auditable v$(AUDITABLE_VERSION):' >/dev/null || cargo install --locked cargo-auditable --version $(AUDITABLE_VERSION)

cargo-deny:
	@hack/tools/tools cargo deny $(DENY_VERSION)
