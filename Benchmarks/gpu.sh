#!/bin/sh
# An NVIDIA GPU beside the processor, in two steps, because machines with a card seldom have a Swift compiler:
#   Benchmarks/gpu.sh pack FOLDER      here: the program, all libraries that it needs, and data, in FOLDER
#   FOLDER/run.sh                      there: top-k of H&M's size and the training of two towers and of session transformers:
#                                      correctness, times, share of the card's peak (larder bench gpu, larder bench network)
#   FOLDER/run.sh bench gpu --items N  there: any command
#   python3 FOLDER/peers.py FOLDER/dataset   there: the same by PyTorch and faiss, where they are (Benchmarks/peers/gpu.py)
# There needs to be a driver, NVRTC and cuBLAS (CUDA 12 or 13; LARDER_CUDA says where, if the system does not know).
set -eu
[ "${1:-}" = pack ] && [ -n "${2:-}" ] || { sed -n 2,8p "$0" >&2; exit 64; }
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
rm -rf "$folder/shop" "$folder/dataset"
"$folder/larder" data make shop "$folder/shop" --rows 1000000 --users 100000 --items 50000
pipeline() { # NAME MODEL
    sed "s/^model:.*/model: { $2, epochs: 1000, patience: 0, validate-every: 100000, threads: 8 }/" \
        "$folder/shop/pipeline.yaml" >"$folder/$1.yaml"
    # Paths in a pipeline are beside it.
    sed -i "s/csv: /csv: shop\//g" "$folder/$1.yaml"
}
for batch in 4096 16384 65536; do
    pipeline "two-tower-$batch" "kind: two-tower, optimizer: adagrad, learning-rate: 0.05, batch: $batch"
done
for batch in 128 1024 4096; do pipeline "sessions-$batch" "kind: session-transformer, batch: $batch"; done
"$folder/larder" bench network "$folder/two-tower-4096.yaml" --dataset "$folder/dataset" --steps 1
cat >"$folder/run.sh" <<'RUN'
#!/bin/sh
set -eu
folder=$(cd "$(dirname "$0")" && pwd)
loader=$(echo "$folder"/lib/ld-linux-*)
# The driver's libraries stand where the system has them.
system=/usr/lib/x86_64-linux-gnu:/usr/lib64:/usr/local/nvidia/lib64:/usr/local/cuda/lib64
larder() { "$loader" --library-path "$folder/lib:$system" "$folder/larder" "$@"; }
[ $# = 0 ] || { larder "$@"; exit; }
larder bench gpu
for name in two-tower-4096 two-tower-16384 two-tower-65536 sessions-128 sessions-1024 sessions-4096; do
    echo "$name (the number: its batch):"
    larder bench network "$folder/$name.yaml" --dataset "$folder/dataset" --device cuda:0 --steps 200
done
RUN
chmod +x "$folder/run.sh"
cp Benchmarks/peers/gpu.py "$folder/peers.py"
rm "$folder"/shop/*.csv
du -sh "$folder"
