# What CI runs is here; `make help` lists it.
CBINDGEN_VERSION = 0.29.4

.PHONY: header
header: ## Generate include/tidegate.h from src/ffi (needs cbindgen $(CBINDGEN_VERSION))
	cbindgen --config cbindgen.toml --crate tidegate --output include/tidegate.h .

.PHONY: nginx-module
nginx-module: ## Build the nginx module against the installed nginx (needs nginx-dev): build/nginx
	cargo build --release
	$(MAKE) -C shims/nginx MODULE_DIR=$(CURDIR)/build/nginx LIBTIDEGATE=$(CURDIR)/target/release/libtidegate.a
