#!/bin/sh
# Formatting, and defects that a compiler does not see.
set -eu
cd "$(dirname "$0")/.."
status=0
complain() { echo "error: $1" >&2; status=1; }

swift format lint --strict -r -p Package.swift Sources Tests || status=1

# A test function without @Test never runs, and nothing says so.
for file in $(find Tests -name '*.swift'); do
    tests=$(grep -c '@Test' "$file" || true)
    sentences=$(grep -c 'func `' "$file" || true)
    [ "$tests" -eq "$sentences" ] ||
        complain "$file: $sentences sentence-named functions, $tests @Test"
done

# One direction of dependencies: only `worker` knows them all.
for rule in 'Transfer:Tables|Jobs|Postgres|CacheWriter|Artifacts|Predictor|worker' \
    'Tables:Jobs|CacheWriter|Artifacts|Predictor|worker' \
    'Predictor:Jobs|Postgres|Transfer|CacheWriter|Artifacts|worker' \
    'Jobs:Predictor|Tables|CacheWriter|Artifacts|worker' \
    'CacheWriter:Predictor|Tables|Jobs|Postgres|Artifacts|worker' \
    'Postgres:Jobs|Predictor|Tables|CacheWriter|Artifacts|worker' \
    'Artifacts:Jobs|Tables|Postgres|Predictor|CacheWriter|worker'; do
    target=${rule%%:*}
    if grep -rnE "^ *(private |package |internal |@testable )*import (${rule#*:})\$" "Sources/$target"; then
        complain "$target must not import ${rule#*:}"
    fi
done

for file in $(git ls-files '*.sh' .ci/run); do
    sh -n "$file" || complain "$file does not parse"
done

lines=$(wc -l <README.md)
[ "$lines" -le 200 ] || complain "README.md has $lines lines; 200 is the most"

if command -v docker-compose >/dev/null; then
    docker-compose -f docker-compose.yml config -q || complain "docker-compose.yml does not hold"
else
    echo "note: docker-compose.yml is not checked, there is no docker-compose here" >&2
fi
exit $status
