# Measurements, for the root Makefile to include. Nothing here is needed to build or to test the library.
.PHONY: bench bench-checks counts

bench: ## Time the hot paths beside their rivals; prints a table of ratios
	@sh scripts/setup.sh bench
	cargo bench --package tidegate-bench

bench-checks: ## Active checks of 10,000 loopback peers at one a second, beside pingora's: CPU of one core, false alarms
	@sh scripts/setup.sh bench
	cargo run -q --release -p tidegate-bench --bin checks -- $(BENCH_CHECKS)

COUNTS_SOURCES = benches/counts/driver.c benches/counts/stepper.c
counts: ## Count instructions and locked instructions of the hot paths (x86-64 Linux)
	cargo build --release
	mkdir -p build
	$(CC) -std=gnu11 -O2 -Wall -Wextra -Iinclude -o build/counts $(COUNTS_SOURCES) target/release/libtidegate.a \
		-lm -lpthread -ldl -lgcc_s
	build/counts
