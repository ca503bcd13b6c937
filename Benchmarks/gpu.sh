#!/bin/sh
# Top-k on an NVIDIA GPU, in two steps, because machines with a card seldom have a Swift compiler:
#   Benchmarks/gpu.sh pack FOLDER      here: the program and all libraries that it needs, in FOLDER
#   FOLDER/run.sh [--items N ...]      there: correctness, times, share of the card's peak (larder bench gpu)
# There needs to be a driver and NVRTC (CUDA 12 or 13; LARDER_CUDA says where, if the system does not know).
set -eu
[ "${1:-}" = pack ] && [ -n "${2:-}" ] || { sed -n 2,5p "$0" >&2; exit 64; }
mkdir -p "$2/lib"
folder=$(cd "$2" && pwd)
cd "$(dirname "$0")/.."
scripts/install-packages.sh
swift build -c release -j 2 --static-swift-stdlib --product larder
strip -o "$folder/larder" .build/release/larder
# The C library and its loader belong together, so both come along.
ldd .build/release/larder | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }' | while read -r library; do
    cp -L "$library" "$folder/lib/"
done
# A host's libcuda may want these of before glibc 2.34, and must not find its own.
for library in libpthread.so.0 librt.so.1 libdl.so.2; do
    cp -L "$(dirname "$(ldd .build/release/larder | awk '/libc\.so/ { print $3 }')")/$library" "$folder/lib/"
done
cat >"$folder/run.sh" <<'RUN'
#!/bin/sh
set -eu
folder=$(cd "$(dirname "$0")" && pwd)
loader=$(echo "$folder"/lib/ld-linux-*)
# The driver's libraries stand where the system has them.
system=/usr/lib/x86_64-linux-gnu:/usr/lib64:/usr/local/nvidia/lib64:/usr/local/cuda/lib64
exec "$loader" --library-path "$folder/lib:$system" "$folder/larder" bench gpu "$@"
RUN
chmod +x "$folder/run.sh"
du -sh "$folder"
