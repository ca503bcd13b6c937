#!/bin/sh
# Runs the demo and compares what it prints with the transcript in README.md: the same lines in
# the same order, numbers aside, because times and release numbers differ.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

make demo >"$work/demo.txt" 2>&1 || { cat "$work/demo.txt"; exit 1; }
cat "$work/demo.txt"

shape() { sed -E 's/dataset [0-9a-f]{12}/dataset ID/; s/[0-9][0-9.,]*/N/g; s/N[KM]iB/N/g; s/ +/ /g; s/ +$//; s#-s [^ ]+#-s SOCKET#'; }
awk '/^<!-- transcript -->/ { on = 1; next } /^<!-- end -->/ { on = 0 } on' README.md |
    grep -v '^```' | grep -v '^\.\.\.$' | grep -v '^$' | shape >"$work/readme"
shape <"$work/demo.txt" >"$work/demo"
[ -s "$work/readme" ] || { echo "error: README.md has no transcript" >&2; exit 1; }

# Every line of the README stands in the demo's output, in order.
awk 'NR == FNR { want[++n] = $0; next } i < n && $0 == want[i + 1] { i++ }
     END { if (i < n) { print "error: README.md shows a line the demo did not print: " want[i + 1]; exit 1 } }' \
    "$work/readme" "$work/demo"
echo "README.md shows what came out"
