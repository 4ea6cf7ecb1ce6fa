#!/bin/sh
# ThreadSanitizer over the C ABI: library and driver both instrumented, so that a race in either is seen and none is
# invented. Needs clang-19 (gcc's runtime cannot link what rustc instruments); says so and passes where it is missing.
set -eu
cd "$(dirname "$0")/.."
if ! command -v clang-19 >/dev/null 2>&1; then
  echo "clang-19 is not installed: no ThreadSanitizer run"
  exit 0
fi
target=x86_64-unknown-linux-gnu
dir=target/tsan
# The static library alone: a shared one would have to find the sanitizer's runtime at its own link.
RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" CARGO_TARGET_DIR=$dir \
  cargo rustc --quiet --lib --crate-type staticlib --target $target
clang-19 -std=gnu11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Werror -fsanitize=thread -Iinclude tests/torture/tsan.c \
  $dir/$target/debug/libtidegate.a -lgcc_s -lpthread -lm -ldl -o $dir/driver
export TSAN_OPTIONS="halt_on_error=1 exitcode=66 second_deadlock_stack=1"
# The instrument first: a race in the library, there on purpose, must be reported, or silence means nothing.
if $dir/driver planted >$dir/planted.log 2>&1; then
  echo "the planted race was not found"
  exit 1
fi
grep -q "WARNING: ThreadSanitizer: data race" $dir/planted.log || { cat $dir/planted.log; exit 1; }
$dir/driver
