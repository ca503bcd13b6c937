#!/bin/sh
# Two feeds from MovieLens-100K, end to end. Run by `make demo` while `larder up` holds the servers.
set -eu
here=$(dirname "$0")

say() { printf '\n== %s\n' "$1"; }

say "similar: for every film, what is like it"
larder run "$here/similar.yaml" --follow
say "for-you: for every user, films not rated yet"
larder run "$here/for-you.yaml" --follow

say "three films and their neighbours"
for film in 50 98 588; do
    larder lookup similar "$film" -k 5 --titles
done
say "what user 259 is offered"
larder lookup for-you 259 -k 10 --titles
release=$(larder lookup for-you 259 --json | sed 's/.*"release":\([0-9]*\).*/\1/')

say "what a service does: GET the release (keep it up to 5 s), GET the list"
socket=${LARDER_REDIS_URL#unix://}
socket=${socket%\?*}
for key in rec:for-you:live "rec:for-you:$release:259"; do
    echo "\$ redis-cli -s $socket GET $key"
    redis-cli -s "$socket" GET "$key" | cut -c 1-72
done

cat <<END

== next (larder is .build/release/larder)
larder up                        keep everything running, with a dashboard on http://127.0.0.1:8080
larder lookup similar 50         what a service gets
larder releases                  what is live; larder rollback FEED goes back
examples/movielens/for-you.yaml  copy it, and point it at your own events
END
