// SPDX-License-Identifier: Apache-2.0
//
// A CUDA driver, an NVRTC and a cuBLAS without a device: kernels run on the CPU, from their own source. For tests on machines
// that have no GPU: what they show is that the kernels compute what they should and that the driver is called
// as it wants to be; not that a real one agrees.
//
// CUDA_EMULATED_MEMORY: bytes of the device. CUDA_EMULATED_FAILURE=cuLaunchKernel:3:719 fails the third call of
// that function with that code, and every call after it. CUDA_EMULATED_WRONG: results have a wrong bit.
#include "emulated.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <ucontext.h>
#include <utility>
#include <vector>

namespace emulated {
Dim thread, block, grid;
unsigned char* shared;

struct Fiber {
    Dim place;
    ucontext_t context;
    jmp_buf turn;
    std::vector<char> stack = std::vector<char>(64 << 10);
    bool hasStarted = false, isDone = false;
};

// Of the largest block so far; they stay, for it is their beginning that takes long.
static std::vector<Fiber> fibers;
static size_t count;
static Fiber* current;
static jmp_buf scheduler;
static void (*body)(void**);
static void** arguments;

void barrier() {
    if (!_setjmp(current->turn)) _longjmp(scheduler, 1);
}

static void start() {
    for (;;) {
        body(arguments);
        current->isDone = true;
        barrier();
    }
}

// Everybody up to the next barrier or to the end, in an order that is another each time.
static bool turn() {
    static unsigned seed = 1;
    size_t alive = 0;
    // Odd, and the number of threads is a power of two: each comes once.
    size_t step = (seed = seed * 1664525 + 1013904223) >> 8 | 1;
    for (size_t n = 0; n < count; n++) {
        current = &fibers[(n * step + step / 7) % count];
        if (current->isDone) continue;
        thread = current->place;
        if (!_setjmp(scheduler)) {
            if (current->hasStarted) _longjmp(current->turn, 1);
            current->hasStarted = true;
            setcontext(&current->context);
        }
        if (!current->isDone) alive++;
    }
    return alive > 0;
}

static void run(Dim threads) {
    count = threads.x * threads.y * threads.z;
    if (fibers.size() < count) fibers.resize(count);
    for (unsigned n = 0; n < count; n++) {
        Fiber& fiber = fibers[n];
        fiber.place = {n % threads.x, n / threads.x % threads.y, n / threads.x / threads.y};
        fiber.isDone = false;
        if (fiber.hasStarted) continue;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, start, 0);
    }
    while (turn()) {}
}

template <class... A, size_t... I>
static void call(void (*kernel)(A...), void** values, std::index_sequence<I...>) {
    kernel(*(std::remove_reference_t<A>*)values[I]...);
}
template <auto kernel, class... A> static void unpack(void (*)(A...), void** values) {
    call<A...>(kernel, values, std::index_sequence_for<A...>());
}
template <auto kernel> static void entry(void** values) { unpack<kernel>(kernel, values); }

static std::mutex lock;
static size_t used;
static std::map<uint64_t, size_t> sizes;
static std::map<void*, size_t> pinned;
// Bytes that a function may be launched with; others: the usual 48 KiB, less what layers have besides.
static std::map<void*, unsigned> mostShared;
static std::map<std::string, int> calls;

static size_t memory() {
    const char* text = getenv("CUDA_EMULATED_MEMORY");
    return text ? strtoull(text, nullptr, 10) : size_t(1) << 30;
}

static int failure(const char* name) {
    const char* text = getenv("CUDA_EMULATED_FAILURE");
    if (!text) {
        calls.clear();
        return 0;
    }
    char wanted[64];
    int number, code;
    if (sscanf(text, "%63[^:]:%d:%d", wanted, &number, &code) != 3) return 0;
    if (name == std::string(wanted)) calls[wanted]++;
    // A device that is lost stays lost; of room (2 the driver's, 3 cuBLAS') there is more elsewhere.
    bool isOfRoom = code == 2 || code == 3;
    return calls[wanted] >= number && (name == std::string(wanted) || !isOfRoom) ? code : 0;
}

// Whether these bytes are of one allocation.
static bool isOurs(uint64_t address, size_t count) {
    auto after = sizes.upper_bound(address);
    if (after == sizes.begin()) return count == 0;
    auto own = std::prev(after);
    return address + count <= own->first + own->second;
}
}

namespace topk {
#include TOPK_KERNELS
}
namespace layers {
#include LAYERS_KERNELS
#include TRANSFORMER_KERNELS
}

static const std::map<std::string, void (*)(void**)> kernels = {
#define KERNEL(space, name) {#name, emulated::entry<space::name>}
    KERNEL(topk, topk_pack),
    KERNEL(topk, topk_scan),
    KERNEL(topk, topk_finish),
    KERNEL(layers, layers_embed),
    KERNEL(layers, layers_sum_pieces),
    KERNEL(layers, layers_squares),
    KERNEL(layers, layers_update),
    KERNEL(layers, layers_add_bias),
    KERNEL(layers, layers_rectify_back),
    KERNEL(layers, layers_copy),
    KERNEL(layers, layers_put_rows),
    KERNEL(layers, layers_add_sums),
    KERNEL(layers, layers_normalise),
    KERNEL(layers, layers_normalise_back),
    KERNEL(layers, layers_close),
    KERNEL(layers, layers_softmax),
    KERNEL(layers, layers_add_pairs),
    KERNEL(layers, layers_binary_cross_entropy),
    KERNEL(layers, layers_gelu),
    KERNEL(layers, layers_gelu_back),
    KERNEL(layers, layers_norm),
    KERNEL(layers, layers_norm_back),
    KERNEL(layers, layers_attend),
    KERNEL(layers, layers_attend_back),
    KERNEL(layers, layers_attend_back_keys),
};

// A thread that has not said which device it means has none.
static thread_local void* current;

#define CALL(name)                                                                                 \
    if (!current) return 201;                                                                      \
    std::lock_guard guard(emulated::lock);                                                         \
    if (int code = emulated::failure(#name)) return code

extern "C" {
int cuInit(unsigned) { return emulated::failure("cuInit"); }
int cuDriverGetVersion(int* version) { *version = 12090; return 0; }
int cuDeviceGetCount(int* count) {
    const char* text = getenv("CUDA_EMULATED_DEVICES");
    *count = text ? atoi(text) : 1;
    return 0;
}
int cuDeviceGet(int* device, int number) { *device = number; return 0; }
int cuDeviceGetName(char* name, int size, int) { snprintf(name, size, "no GPU"); return 0; }
int cuDeviceGetAttribute(int* value, int attribute, int) {
    switch (attribute) {
    case 75: *value = 9; return 0;
    case 76: *value = 0; return 0;
    case 13: *value = 1000000; return 0;
    case 16: *value = 8; return 0;
    case 97: *value = 227 << 10; return 0;
    default: return 1;
    }
}
int cuDevicePrimaryCtxRetain(void** context, int) { *context = (void*)1; return 0; }
int cuCtxSetCurrent(void* context) { current = context; return context ? 0 : 201; }
int cuMemGetInfo_v2(size_t* free, size_t* total) {
    CALL(cuMemGetInfo);
    *total = emulated::memory();
    *free = *total > emulated::used ? *total - emulated::used : 0;
    return 0;
}
int cuMemAlloc_v2(uint64_t* address, size_t count) {
    CALL(cuMemAlloc);
    if (emulated::used + count > emulated::memory()) return 2;
    void* bytes = aligned_alloc(256, (count + 255) / 256 * 256);
    // Whoever reads what was not written finds no number.
    memset(bytes, 0xff, count);
    *address = (uint64_t)bytes;
    emulated::sizes[*address] = count;
    emulated::used += count;
    return 0;
}
int cuMemFree_v2(uint64_t address) {
    std::lock_guard guard(emulated::lock);
    auto own = emulated::sizes.find(address);
    if (own == emulated::sizes.end()) return 1;
    emulated::used -= own->second;
    emulated::sizes.erase(own);
    free((void*)address);
    return 0;
}
int cuMemHostRegister_v2(void* start, size_t count, unsigned) {
    CALL(cuMemHostRegister);
    return emulated::pinned.emplace(start, count).second ? 0 : 712;
}
int cuMemHostUnregister(void* start) {
    std::lock_guard guard(emulated::lock);
    if (!current || !emulated::pinned.erase(start)) abort();
    return 0;
}
int cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t count) {
    CALL(cuMemcpyHtoD);
    if (!emulated::isOurs(to, count)) return 1;
    if (count) memcpy((void*)to, from, count);
    return 0;
}
int cuMemcpyDtoH_v2(void* to, uint64_t from, size_t count) {
    CALL(cuMemcpyDtoH);
    if (!emulated::isOurs(from, count)) return 1;
    if (count) memcpy(to, (void*)from, count);
    if (count && getenv("CUDA_EMULATED_WRONG")) *(char*)to ^= 1;
    return 0;
}
int cuMemsetD8_v2(uint64_t address, unsigned char value, size_t count) {
    CALL(cuMemsetD8);
    if (!emulated::isOurs(address, count)) return 1;
    memset((void*)address, value, count);
    return 0;
}
int cuModuleLoadData(void** module, const void* image) {
    CALL(cuModuleLoadData);
    *module = (void*)2;
    return strncmp((const char*)image, "emulated", 8) == 0 ? 0 : 200;
}
int cuModuleGetFunction(void** function, void*, const char* name) {
    auto kernel = kernels.find(name);
    if (kernel == kernels.end()) return 500;
    *function = (void*)kernel->second;
    return 0;
}
int cuFuncSetAttribute(void* function, int attribute, int value) {
    std::lock_guard guard(emulated::lock);
    // What the largest of the kernels has besides.
    if (attribute != 8 || value + 18448 > 227 << 10) return 1;
    emulated::mostShared[function] = value;
    return 0;
}
int cuLaunchKernel(
    void* function, unsigned bx, unsigned by, unsigned bz, unsigned tx, unsigned ty, unsigned tz,
    unsigned sharedBytes, void*, void** arguments, void**
) {
    CALL(cuLaunchKernel);
    if (tx * ty * tz > 1024 || by > 65535 || !bx) return 1;
    auto most = emulated::mostShared.find(function);
    if (sharedBytes > (most == emulated::mostShared.end() ? 46u << 10 : most->second)) return 1;
    std::vector<unsigned char> shared(sharedBytes + 16, 0xff);
    emulated::shared = shared.data() + (16 - (uintptr_t)shared.data() % 16) % 16;
    emulated::body = (void (*)(void**))function;
    emulated::arguments = arguments;
    emulated::grid = {bx, by, bz};
    for (unsigned z = 0; z < bz; z++)
        for (unsigned y = 0; y < by; y++)
            for (unsigned x = 0; x < bx; x++) {
                emulated::block = {x, y, z};
                emulated::run({tx, ty, tz});
            }
    return 0;
}
int cuCtxSynchronize() { CALL(cuCtxSynchronize); return 0; }
int cuEventCreate(void** event, unsigned) { *event = (void*)3; return 0; }
int cuEventRecord(void*, void*) { return 0; }
int cuEventSynchronize(void*) { return 0; }
int cuEventElapsedTime(float* milliseconds, void*, void*) { *milliseconds = 1; return 0; }
int cuEventDestroy_v2(void*) { return 0; }
int cuGetErrorName(int code, const char** name) {
    switch (code) {
    case 1: *name = "CUDA_ERROR_INVALID_VALUE"; break;
    case 2: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case 200: *name = "CUDA_ERROR_INVALID_IMAGE"; break;
    case 719: *name = "CUDA_ERROR_LAUNCH_FAILED"; break;
    default: *name = "CUDA_ERROR_UNKNOWN";
    }
    return 0;
}
int cuGetErrorString(int, const char** words) { *words = "as the test wanted it"; return 0; }

int nvrtcVersion(int* major, int* minor) { *major = 12; *minor = 9; return 0; }
int nvrtcGetNumSupportedArchs(int* count) { *count = 1; return 0; }
int nvrtcGetSupportedArchs(int* architectures) { *architectures = 90; return 0; }
int nvrtcCreateProgram(void** program, const char*, const char*, int, void*, void*) {
    *program = (void*)4;
    return 0;
}
int nvrtcDestroyProgram(void**) { return 0; }
int nvrtcCompileProgram(void*, int, const char**) { return 0; }
int nvrtcGetProgramLogSize(void*, size_t* size) { *size = 0; return 0; }
int nvrtcGetProgramLog(void*, char*) { return 0; }
int nvrtcGetCUBINSize(void*, size_t* size) { *size = 8; return 0; }
int nvrtcGetCUBIN(void*, char* bytes) { memcpy(bytes, "emulated", 8); return 0; }
int nvrtcGetPTXSize(void*, size_t* size) { *size = 0; return 0; }
int nvrtcGetPTX(void*, char*) { return 0; }
const char* nvrtcGetErrorString(int) { return "NVRTC_ERROR"; }

int cublasCreate_v2(void** handle) {
    CALL(cublasCreate);
    *handle = (void*)5;
    return 0;
}
int cublasDestroy_v2(void*) { return 0; }
// c = alpha · a · b + beta · c, by columns; what beta is zero for need not be a number.
int cublasSgemm_v2(
    void*, int transposesA, int transposesB, int m, int n, int k, const float* alpha, uint64_t a, int lda,
    uint64_t b, int ldb, const float* beta, uint64_t c, int ldc
) {
    CALL(cublasSgemm);
    auto last = [](int rows, int columns, int stride) { return 4 * ((columns - 1) * size_t(stride) + rows); };
    if (m < 1 || n < 1 || k < 0 || ldc < m) return 7;
    if (!emulated::isOurs(a, last(transposesA ? k : m, transposesA ? m : k, lda))) return 7;
    if (!emulated::isOurs(b, last(transposesB ? n : k, transposesB ? k : n, ldb))) return 7;
    if (!emulated::isOurs(c, last(m, n, ldc))) return 7;
    for (int j = 0; j < n; j++)
        for (int i = 0; i < m; i++) {
            double sum = 0;
            for (int p = 0; p < k; p++)
                sum += (double)((float*)a)[transposesA ? p + size_t(i) * lda : i + size_t(p) * lda]
                    * ((float*)b)[transposesB ? j + size_t(p) * ldb : p + size_t(j) * ldb];
            float* to = (float*)c + i + size_t(j) * ldc;
            *to = (float)(*alpha * sum) + (*beta == 0 ? 0 : *beta * *to);
        }
    return 0;
}
const char* cublasGetStatusString(int) { return "as the test wanted it"; }
const char* cublasGetStatusName(int status) {
    switch (status) {
    case 3: return "CUBLAS_STATUS_ALLOC_FAILED";
    case 7: return "CUBLAS_STATUS_INVALID_VALUE";
    default: return "CUBLAS_STATUS_EXECUTION_FAILED";
    }
}
}
