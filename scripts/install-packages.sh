#!/bin/sh
# Installs the Debian packages that Larder builds with and runs on, and those named, if missing.
set -eu

packages="postgresql redis-server libpq-dev libhiredis-dev libopenblas-dev zlib1g-dev libzstd-dev libcurl4-openssl-dev
          pkg-config curl unzip ca-certificates"

missing=""
for package in $packages "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "error: these packages are missing, and there is no apt-get here:$missing" >&2
    exit 69
fi
sudo=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "error: install as root:$missing" >&2
        exit 69
    }
    sudo=sudo
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086  # a list of names
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
