# Everything that CI runs is a target here. `make help` lists them.
#
# Two commands do all the set-up on a fresh machine with Rust and a C compiler: `make demo` and `make test`.

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DESTDIR ?=
CC ?= cc
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
SO := libtidegate.so.$(VERSION)
# The module is built where the headers of an nginx are installed.
NGINX_SRC ?= /usr/share/nginx/src
HAVE_NGINX := $(shell { command -v nginx || test -x /usr/sbin/nginx; } >/dev/null 2>&1 && test -e $(NGINX_SRC)/configure && echo yes)

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

.PHONY: setup
setup: ## Install what is missing (nginx and its headers, valgrind) where that is possible, or say what to install
	@sh scripts/setup.sh

.PHONY: build
build: ## Build the library: target/release/libtidegate.so and .a
	cargo build --release

.PHONY: proxy
proxy: build ## Build the C examples: build/examples
	$(MAKE) -s -C ffi-examples

.PHONY: nginx-module
nginx-module: build ## Build the nginx module against the installed nginx: build/nginx
	$(MAKE) -s -C shims/nginx MODULE_DIR=$(CURDIR)/build/nginx LIBTIDEGATE=$(CURDIR)/target/release/libtidegate.a NGINX_SRC=$(NGINX_SRC)

# A second make, because `setup` may have installed what HAVE_NGINX looks for.
.PHONY: all
all:
	$(MAKE) proxy $(if $(HAVE_NGINX),nginx-module)

.PHONY: demo
demo: setup ## The main job, on real traffic, in under two minutes
	$(MAKE) all
	cargo run -q -p tidegate-testbed --bin demo

.PHONY: test
test: setup ## All tests but the long ones
	$(MAKE) all
	cargo test --workspace --exclude tidegate-bench
	@$(if $(HAVE_NGINX),,echo "nginx and its headers were not there: the tests of the module were left out")

.PHONY: test-deep
test-deep: test ## The long ones: 10,000 kills, a kill at every instruction, nginx upgraded and killed, loom, ThreadSanitizer, fuzzing, many more random cases
	TIDEGATE_KILLS=10000 cargo test --release --test processes --test storm
	$(MAKE) torture-deep
	cargo test --features tls --test checker
	TIDEGATE_SURVIVAL=full cargo test --test nginx survival -- --nocapture
	$(MAKE) loom
	PROPTEST_CASES=20000 cargo test --release --lib --test selectors --test validator_properties --test validator_rules
	$(MAKE) fuzz

# In a directory of its own: with the flag every crate is another one.
LOOM = RUSTFLAGS="--cfg loom" cargo test --profile loom --lib --target-dir target/loom

.PHONY: loom
loom: ## Loom models of the shipped code, and the faults that they must find; LOOM_MAX_PREEMPTIONS=2
	$(LOOM) model::every_model_holds -- --nocapture
	LOOM_MAX_PREEMPTIONS=1 $(LOOM) model::faults -- --nocapture

.PHONY: screenshots
screenshots: proxy ## The default error page in headless Chromium, light, dark and on a phone: build/screenshots
	@sh scripts/setup.sh screenshots
	sh scripts/screenshots.sh build/examples/page build/screenshots

.PHONY: lint
lint: ## rustfmt, clippy, C warnings
	cargo fmt --all -- --check
	cargo clippy --workspace --exclude tidegate-bench --all-targets -- -D warnings
	$(MAKE) -C ffi-examples check-dialects

.PHONY: header
header: ## Generate include/tidegate.h from src/ffi, and record symbols and layouts
	cargo build --release
	TIDEGATE_BLESS=1 cargo test --test header
	TIDEGATE_BLESS=1 cargo test --test abi

# The version nodes of the symbols need a link of their own: a version script that build.rs passes to rust-lld is
# silently ignored.
build/lib/$(SO): target/release/libtidegate.a abi/tidegate.map
	@mkdir -p $(@D)
	$(CC) -shared -o $@ -Wl,--whole-archive target/release/libtidegate.a -Wl,--no-whole-archive \
	  -Wl,-soname,libtidegate.so.0 -Wl,--version-script=abi/tidegate.map -Wl,--gc-sections \
	  -Wl,--strip-debug -Wl,-z,nodelete -Wl,-z,relro,-z,now,-z,defs -lgcc_s -lpthread -lm -ldl -lc

target/release/libtidegate.a: build

.PHONY: install
install: build/lib/$(SO) ## Install library, header, pkg-config and CMake files: PREFIX= DESTDIR=
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(LIBDIR)/cmake/tidegate $(DESTDIR)$(INCLUDEDIR)
	install -m 755 build/lib/$(SO) $(DESTDIR)$(LIBDIR)/$(SO)
	ln -sf $(SO) $(DESTDIR)$(LIBDIR)/libtidegate.so.0
	ln -sf libtidegate.so.0 $(DESTDIR)$(LIBDIR)/libtidegate.so
	install -m 644 target/release/libtidegate.a $(DESTDIR)$(LIBDIR)/libtidegate.a
	install -m 644 include/tidegate.h $(DESTDIR)$(INCLUDEDIR)/tidegate.h
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' -e 's|@VERSION@|$(VERSION)|' \
	  packaging/tidegate.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/tidegate.pc
	install -m 644 packaging/tidegate-config.cmake $(DESTDIR)$(LIBDIR)/cmake/tidegate/tidegate-config.cmake

.PHONY: clean
clean: ## Remove everything that was built
	cargo clean
	rm -rf build

-include benches/targets.mk
-include testbed/targets.mk
-include simulator/targets.mk
-include tests/torture/targets.mk
-include fuzz/targets.mk
