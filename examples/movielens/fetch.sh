#!/bin/sh
# Brings MovieLens-100K to data/events.tsv and data/items.tsv: from GroupLens, or where that
# cannot be reached, out of the PyPI wheel of RecBole, which carries the same rows. The data is
# for research, and may not be passed on: see README.md.
set -eu
cd "$(dirname "$0")"
mkdir -p data
[ -s data/events.tsv ] && [ -s data/items.tsv ] && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

from_grouplens() {
    curl -fsSL --connect-timeout 10 --retry 2 -o "$work/ml-100k.zip" \
        https://files.grouplens.org/datasets/movielens/ml-100k.zip 2>/dev/null || return 1
    echo "0e33842e24a9c977be4e0107933c0723  $work/ml-100k.zip" | md5sum -c --quiet || return 1
    unzip -q "$work/ml-100k.zip" -d "$work"
    cp "$work/ml-100k/u.data" "$work/events"
    iconv -f latin1 -t utf8 "$work/ml-100k/u.item" | awk -F'|' '{ print $1 "\t" $2 }' >"$work/items"
}

from_wheel() {
    python3 -m pip --version >/dev/null 2>&1 || {
        echo "error: GroupLens cannot be reached, and python3-pip is not installed" >&2
        return 1
    }
    python3 -m pip download -q --no-deps --disable-pip-version-check -d "$work" recbole==1.2.1
    wheel="$work/recbole-1.2.1-py3-none-any.whl"
    echo "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407  $wheel" |
        sha256sum -c --quiet
    unzip -q "$wheel" 'recbole/dataset_example/ml-100k/*' -d "$work"
    folder="$work/recbole/dataset_example/ml-100k"
    tail -n +2 "$folder/ml-100k.inter" >"$work/events"
    tail -n +2 "$folder/ml-100k.item" | awk -F'\t' '{ print $1 "\t" $2 " (" $3 ")" }' >"$work/items"
}

echo "fetching MovieLens-100K"
from_grouplens || from_wheel
[ "$(wc -l <"$work/events")" -eq 100000 ] || {
    echo "error: the archive does not have the 100,000 ratings it should have" >&2
    exit 1
}
{ printf 'user_id\titem_id\trating\ttimestamp\n'; cat "$work/events"; } >data/events.tsv.new
{ printf 'item_id\ttitle\n'; cat "$work/items"; } >data/items.tsv.new
mv data/items.tsv.new data/items.tsv
mv data/events.tsv.new data/events.tsv
