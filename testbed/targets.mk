# The test bed's own targets, included by the root's Makefile.

.PHONY: bench-slow
bench-slow: nginx-module ## One peer ten times slower behind a real nginx: p99 before and after, for each selector
	cargo run -q --release -p tidegate-testbed --bin bench-slow -- $(BENCH_SLOW)

.PHONY: bench-nginx
bench-nginx: nginx-module ## What the nginx module costs: CPU a request beside stock nginx, paired runs
	cargo run -q --release -p tidegate-testbed --bin bench-nginx -- $(BENCH_NGINX)

.PHONY: compare
compare: setup-compare nginx-module ## Stock nginx, HAProxy, Envoy and Tidegate under the same faults: one table, some 14 minutes
	cargo run -q --release -p tidegate-testbed --bin compare -- $(COMPARE)

.PHONY: compare-report
compare-report: setup-compare nginx-module ## The same, written into docs/comparison.md
	cargo run -q --release -p tidegate-testbed --bin compare -- --write docs/comparison.md $(COMPARE)

.PHONY: setup-compare
setup-compare:
	@sh scripts/setup.sh compare
