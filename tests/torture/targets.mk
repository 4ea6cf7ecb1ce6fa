# The deep runs of tests/torture: included by the root Makefile, whose `test-deep` asks for them.

.PHONY: torture-deep
torture-deep: build ## Kill at every instruction of every operation; threads under ThreadSanitizer
	TIDEGATE_TORTURE=full cargo test --test torture -- --nocapture
	sh scripts/tsan.sh
