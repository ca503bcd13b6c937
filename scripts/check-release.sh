#!/bin/sh
# The lists of the release build are the same in both passes, on one thread and on several: what the
# optimiser makes of memory and arithmetic shows nowhere else.
set -eu
cd "$(dirname "$0")/.."
folder=$(mktemp -d /tmp/larder-release.XXXXXX)
trap 'rm -rf "$folder"' EXIT

python3 - "$folder" <<'PYTHON'
import array, random, sys
draw = random.Random(7)
for name, rows in (("queries", 400), ("items", 20000)):
    array.array("f", (draw.gauss(0, 1) for _ in range(rows * 32))).tofile(open(f"{sys.argv[1]}/{name}", "wb"))
PYTHON

for lists in "10 0" "300 5" "500 400"; do
    k=${lists% *} seen=${lists#* }
    for pass in float32 int8; do
        for threads in 1 3; do
            # Memory that is given back is unmapped, so that using it afterwards is seen.
            MALLOC_MMAP_THRESHOLD_=4096 .build/release/larder bench topk --queries "$folder/queries" --items "$folder/items" \
                --depth 32 --k "$k" --seen "$seen" --pass "$pass" --threads "$threads" --output "$folder/$pass.$threads" >/dev/null
            cmp "$folder/float32.1" "$folder/$pass.$threads"
        done
    done
done
