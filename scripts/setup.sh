#!/bin/sh
# Makes sure that what the build and the tests need is there. What is missing is installed where this is a Debian-like
# system and we are root; otherwise one line says what to install. Rust and a C compiler are required; nginx with its
# headers and valgrind widen what is tested.
set -u

missing=
need() { # need PACKAGE TEST…
  package=$1
  shift
  "$@" >/dev/null 2>&1 || missing="$missing $package"
}

has_nginx() { command -v nginx || test -x /usr/sbin/nginx; }

command -v cargo >/dev/null 2>&1 || {
  echo "setup: cargo is missing. Install Rust 1.87 or later (https://rustup.rs)." >&2
  exit 1
}
need gcc command -v "${CC:-cc}"
need g++ command -v "${CXX:-c++}"
need binutils command -v nm
need make command -v make
need nginx-core has_nginx
need nginx-dev test -e "${NGINX_SRC:-/usr/share/nginx/src}/configure"
need valgrind command -v valgrind
# `make bench` builds a rival that needs it.
[ "${1:-}" != bench ] || need cmake command -v cmake
# `make screenshots` looks at the error page.
[ "${1:-}" != screenshots ] || need chromium command -v chromium
# `make fuzz` needs a command of cargo's.
if [ "${1:-}" = fuzz ] && ! cargo fuzz --version >/dev/null 2>&1; then
  echo "setup: installing cargo-fuzz"
  cargo install --quiet --locked cargo-fuzz --version 0.13.2 || exit 1
fi
[ -z "$missing" ] && exit 0

if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
  echo "setup: installing$missing"
  # Packages of servers start them; this one is only to be used by the tests, on ports of their own.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  log=$(mktemp)
  # shellcheck disable=SC2086 # a list of packages
  if apt-get update -qq >"$log" 2>&1 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >>"$log" 2>&1; then
    rm -f "$log"
    exit 0
  fi
  echo "setup: apt-get failed; its last lines:" >&2
  tail -n 5 "$log" >&2
  rm -f "$log"
fi

echo "setup: missing:$missing. On Debian or Ubuntu: sudo apt-get install --no-install-recommends$missing" >&2
case $missing in
*" gcc"* | *" make"* | *binutils* | *"g++"*)
  echo "setup: a C and a C++ compiler, binutils and make are required." >&2
  exit 1
  ;;
esac
echo "setup: going on without: the demo then runs the C proxy instead of nginx, and tests say what they leave out." >&2
