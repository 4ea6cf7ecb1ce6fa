#!/bin/sh
# Renders the default error page in headless Chromium: several causes, light, dark and at a phone's width.
#
#   scripts/screenshots.sh PAGES OUT     PAGES: the program that writes one page (ffi-examples/page.c)
set -eu

pages=$1
out=$2
chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
  echo "screenshots: chromium is missing; scripts/setup.sh screenshots installs it" >&2
  exit 1
}
mkdir -p "$out"
out=$(cd "$out" && pwd)
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT

shot() { # shot NAME SCHEME WIDTH,HEIGHT SUFFIX: SCHEME is 0 for dark, 1 for light
  rm -rf "$profile"/*
  timeout 120 "$chromium" --headless --no-sandbox --disable-gpu --disable-background-networking \
    --disable-component-update --disable-sync --user-data-dir="$profile" --hide-scrollbars \
    --blink-settings=preferredColorScheme="$2" --window-size="$3" --screenshot="$out/$1-$4.png" \
    "file://$out/$1.html" >"$out/chromium.log" 2>&1 && test -s "$out/$1-$4.png" || {
    tail -n 5 "$out/chromium.log" >&2
    exit 1
  }
}

# Name, status, cause, Retry-After.
while read -r name status cause wait; do
  "$pages" "$status" "$cause" "$wait" >"$out/$name.html"
  shot "$name" 1 1100,800 light
  shot "$name" 0 1100,800 dark
  shot "$name" 1 390,844 phone
done <<LIST
refused 502 connection_refused 0
timeout 504 connection_read_timeout 0
unavailable 503 no_eligible_peer 30
internal 500 internal_error 0
LIST
rm -f "$out/chromium.log"
ls "$out"
