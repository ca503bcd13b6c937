#!/bin/sh
# swift test with the arguments given. What failed is said once more at the end: a whole run prints
# thousands of lines, and of a run somewhere else often only the last are at hand.
set -eu
log=$(mktemp)
trap 'rm -f "$log"' EXIT

{
    status=0
    stdbuf -oL swift test --skip-build --disable-xctest "$@" 2>&1 || status=$?
    echo "$status" >"$log.status"
} | tee "$log"
status=$(cat "$log.status")
rm -f "$log.status"
[ "$status" -eq 0 ] && exit 0
echo
echo "=== failed with status $status:"
# An issue's line, and what is said of it below.
grep -aE -A 12 'recorded an issue|Fatal error|signal code' "$log" | grep -avE '^(◇|✔|--)' | cut -c1-600 | head -200
exit "$status"
