SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

NEXTEST_VERSION := 0.9.146
DENY_VERSION := 0.20.2
CLUSTER := hack
CLUSTER_TOOL := hack/cluster/cluster

.PHONY: help
help: ## List all targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  %-16s %s\n", $$1, $$2 }'

.PHONY: crds
crds: ## Write crds/ from the types
	@mkdir -p crds
	cargo run --quiet -- crds | awk -v RS='---\n' 'NF { match($$0, /name: [a-z]+\.stormfold/); file = "crds/" substr($$0, RSTART + 6, RLENGTH - 16) ".yaml"; printf "%s", $$0 > file }'

.PHONY: bench-storm
bench-storm: ## Measure storms on a real API server
	cargo bench --bench storm --no-run
	$(CLUSTER_TOOL) with bash -c 'kubectl apply -f crds/ -f manifests/rbac.yaml && cargo bench --bench storm'
