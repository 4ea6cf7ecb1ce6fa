# The simulator, for the root Makefile to include.
.PHONY: sim
sim: ## The simulation suite: tail latency of every selector, a black hole, a grid of faults; tables, JSON and SVG in build/sim
	cargo run -q --release -p tidegate-simulator -- suite $(SIM)
