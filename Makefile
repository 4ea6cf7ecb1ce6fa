# What CI runs is here; `make help` lists it.
CBINDGEN_VERSION = 0.29.4

.PHONY: header
header: ## Generate include/tidegate.h from src/ffi (needs cbindgen $(CBINDGEN_VERSION))
	cbindgen --config cbindgen.toml --crate tidegate --output include/tidegate.h .
