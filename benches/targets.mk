# Measurements, for the root Makefile to include. Nothing here is needed to build or to test the library.
.PHONY: bench counts

bench: ## Time the hot paths beside their rivals; prints a table of ratios
	@sh scripts/setup.sh bench
	cargo bench --package tidegate-bench

COUNTS_SOURCES = benches/counts/driver.c benches/counts/stepper.c
counts: ## Count instructions and locked instructions of the hot paths (x86-64 Linux)
	cargo build --release
	mkdir -p build
	$(CC) -std=gnu11 -O2 -Wall -Wextra -Iinclude -o build/counts $(COUNTS_SOURCES) target/release/libtidegate.a \
		-lm -lpthread -ldl -lgcc_s
	build/counts
