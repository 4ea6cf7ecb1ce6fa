# The test bed's own targets, included by the root's Makefile.

.PHONY: bench-nginx
bench-nginx: nginx-module ## What the nginx module costs: CPU a request beside stock nginx, paired runs
	cargo run -q --release -p tidegate-testbed --bin bench-nginx -- $(BENCH_NGINX)
