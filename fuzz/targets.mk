# Each target for so many seconds. `cargo fuzz` comes from `scripts/setup.sh fuzz`; RUSTC_BOOTSTRAP lets a stable compiler
# take the sanitizer's flags. What is found on the way goes to build/fuzz; `make fuzz-keep` adds what reaches new code to
# the corpora, which `make test` plays again.
FUZZ_SECONDS ?= 600
FUZZ_TARGETS ?= cgi file framing head list policy responder rules table template
FUZZ = cd fuzz && RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$(CURDIR)/target/fuzz nice cargo fuzz

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZ_SECONDS (600): table, files, heads, bodies, policies, lists, CGI, rules, answers, templates
	sh scripts/setup.sh fuzz
	$(foreach t,$(FUZZ_TARGETS),mkdir -p build/fuzz/$(t) && ($(FUZZ) run $(t) ../build/fuzz/$(t) corpus/$(t) -- \
	  -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1) &&) true

.PHONY: fuzz-keep
fuzz-keep: ## Keep of what fuzzing found what reaches code that the corpora do not
	$(foreach t,$(FUZZ_TARGETS),($(FUZZ) cmin $(t) corpus/$(t)) && ($(FUZZ) run $(t) corpus/$(t) ../build/fuzz/$(t) -- -merge=1) &&) true
