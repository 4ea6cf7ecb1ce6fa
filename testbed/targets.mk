# The test bed's own targets, included by the root's Makefile.

.PHONY: bench-slow
bench-slow: nginx-module ## One peer ten times slower behind a real nginx: p99 before and after, for each selector
	cargo run -q --release -p tidegate-testbed --bin bench-slow -- $(BENCH_SLOW)

.PHONY: bench-nginx
bench-nginx: nginx-module ## What the nginx module costs: CPU a request beside stock nginx, paired runs
	cargo run -q --release -p tidegate-testbed --bin bench-nginx -- $(BENCH_NGINX)
