// CUDA for g++, as far as kernels.cu uses it, to run its kernels on a processor.
//
// A block's threads are fibres (ucontext): each runs until it waits at a barrier or has finished, then the next one
// runs. A barrier lets go when every thread of the block has come to it, a warp operation when its 32 lanes have; what
// can never be let go, because a thread has finished or waits elsewhere, is an error. So a thread that reads what
// another has still to write reads the old value, and a missing barrier shows: in one of the orders in which
// threads can be run (a launch chooses it), a reader comes before its writer. `skipped` makes a launch ignore one
// line's barrier, with which the tests prove that. Not caught: an increment that should be atomic, as fibres never run
// at once.
#pragma once

#include <math.h>
#include <string.h>
#include <ucontext.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#define __global__
#define __device__ inline
#define __shared__ static  // blocks run one after the other
#define __launch_bounds__(threads)
#define __syncthreads() host::wait_for_block(__LINE__)

struct Index {
    unsigned x, y, z;
};

static Index threadIdx, blockIdx, blockDim, gridDim;

namespace host {

constexpr unsigned LANES = 32;
constexpr size_t STACK = 64 << 10;

enum class At { start, barrier, warp, released, end };

struct Fibre {
    ucontext_t context;
    std::unique_ptr<char[]> stack{new char[STACK]};
};

struct Thread {
    At at = At::start;
    Fibre* fibre = nullptr;
    unsigned exchanges = 0;
};

// What the lanes of a warp show each other; twice, as a fast lane may already be one exchange ahead.
struct Warp {
    unsigned shown[2][LANES];
};

struct Order {
    // 0: ascending; 1: descending; any other number: a seed for a fresh shuffle every time.
    explicit Order(unsigned order) : order(order), random(order) {}

    std::vector<unsigned> operator()(unsigned count) {
        std::vector<unsigned> indices(count);
        std::iota(indices.begin(), indices.end(), 0u);
        if (order == 1) std::reverse(indices.begin(), indices.end());
        if (order > 1) std::shuffle(indices.begin(), indices.end(), random);
        return indices;
    }

    unsigned order;
    std::mt19937 random;
};

// The one launch that is under way.
struct Launch {
    std::function<void()> kernel;
    Order order{0};
    int skipped = 0;
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    std::vector<unsigned> starting;  // in the order of their start, reversed
    unsigned current = 0;
    ucontext_t scheduler;
};

static Launch launch;
static std::vector<std::unique_ptr<Fibre>> fibres;
static std::vector<Fibre*> idle;
static Fibre* running;

inline void enter(unsigned index) {
    launch.current = index;
    threadIdx = {index % blockDim.x, index / blockDim.x % blockDim.y, index / blockDim.x / blockDim.y};
}

// A fibre runs one thread after the other; one that has to wait takes the fibre with it.
inline void run_threads() {
    for (;;) {
        while (!launch.starting.empty()) {
            enter(launch.starting.back());
            launch.starting.pop_back();
            launch.kernel();
            launch.threads[launch.current].at = At::end;
        }
        idle.push_back(running);
        swapcontext(&running->context, &launch.scheduler);
    }
}

inline Fibre* idle_fibre() {
    if (idle.empty()) {
        fibres.push_back(std::make_unique<Fibre>());
        Fibre* made = fibres.back().get();
        getcontext(&made->context);
        made->context.uc_stack.ss_sp = made->stack.get();
        made->context.uc_stack.ss_size = STACK;
        made->context.uc_link = nullptr;
        makecontext(&made->context, run_threads, 0);
        idle.push_back(made);
    }
    Fibre* fibre = idle.back();
    idle.pop_back();
    return fibre;
}

inline void resume(Fibre* fibre) {
    running = fibre;
    swapcontext(&launch.scheduler, &fibre->context);
}

inline void wait(At at) {
    Thread& thread = launch.threads[launch.current];
    thread.at = at;
    thread.fibre = running;
    swapcontext(&running->context, &launch.scheduler);
}

inline void wait_for_block(int line) {
    if (line != launch.skipped) wait(At::barrier);
}

// Lets go whom it can: warps whose lanes are all there, and the block when all of its threads are.
inline bool release() {
    const auto release_all = [](At at, size_t from, size_t to) {
        const auto first = launch.threads.begin() + from, last = launch.threads.begin() + to;
        if (!std::all_of(first, last, [at](const Thread& thread) { return thread.at == at; })) return false;
        std::for_each(first, last, [](Thread& thread) { thread.at = At::released; });
        return true;
    };
    bool released = release_all(At::barrier, 0, launch.threads.size());
    for (size_t from = 0; from + LANES <= launch.threads.size(); from += LANES)
        released |= release_all(At::warp, from, from + LANES);
    return released;
}

inline void run_block() {
    const unsigned count = blockDim.x * blockDim.y * blockDim.z;
    launch.threads.assign(count, Thread());
    launch.warps.assign((count + LANES - 1) / LANES, Warp());
    launch.starting = launch.order(count);
    std::reverse(launch.starting.begin(), launch.starting.end());
    while (!launch.starting.empty()) resume(idle_fibre());
    while (release())
        for (unsigned index : launch.order(count))
            if (launch.threads[index].at == At::released) {
                enter(index);
                resume(launch.threads[index].fibre);
            }
    const auto ended = [](const Thread& thread) { return thread.at == At::end; };
    if (!std::all_of(launch.threads.begin(), launch.threads.end(), ended))
        throw std::runtime_error("not all threads come to the same barrier");
}

inline void run_grid(Index grid, Index block) {
    gridDim = grid;
    blockDim = block;
    for (unsigned index : launch.order(grid.x * grid.y * grid.z)) {
        blockIdx = {index % grid.x, index / grid.x % grid.y, index / grid.x / grid.y};
        run_block();
    }
}

// What each lane of this thread's warp shows, once all of them show something.
inline const unsigned* exchange(unsigned value) {
    const unsigned lane = launch.current % LANES;
    unsigned* shown = launch.warps[launch.current / LANES].shown[launch.threads[launch.current].exchanges++ % 2];
    shown[lane] = value;
    wait(At::warp);
    return shown;
}

template <class... Parameters, size_t... I>
void call(void (*kernel)(Parameters...), void* const* arguments, std::index_sequence<I...>) {
    kernel(*static_cast<Parameters*>(arguments[I])...);
}

// Runs a kernel and returns null, or what went wrong. `arguments` points at one value for each parameter.
template <class... Parameters>
const char* run(
    void (*kernel)(Parameters...), const unsigned* geometry, void* const* arguments, unsigned order, int skipped) {
    launch.kernel = [=] { call(kernel, arguments, std::index_sequence_for<Parameters...>()); };
    launch.order = Order(order);
    launch.skipped = skipped;
    try {
        run_grid({geometry[0], geometry[1], geometry[2]}, {geometry[3], geometry[4], geometry[5]});
    } catch (const std::runtime_error& error) {
        idle.clear();  // the fibres of the threads that still wait are given up
        fibres.clear();
        static std::string told;
        told = error.what();
        return told.c_str();
    }
    return nullptr;
}

}  // namespace host

#define HOST_KERNEL(name)                                                                           \
    extern "C" const char* launch_##name(                                                           \
        const unsigned* geometry, void* const* arguments, unsigned order, int skipped) {            \
        return host::run(name, geometry, arguments, order, skipped);                                \
    }

inline unsigned __shfl_sync(unsigned, unsigned value, int lane) { return host::exchange(value)[lane]; }

inline unsigned __shfl_up_sync(unsigned, unsigned value, unsigned step) {
    const unsigned lane = host::launch.current % host::LANES;
    return host::exchange(value)[lane >= step ? lane - step : lane];
}

inline unsigned __ballot_sync(unsigned, bool vote) {
    const unsigned* votes = host::exchange(vote);
    unsigned ballot = 0;
    for (unsigned lane = 0; lane < host::LANES; ++lane) ballot |= votes[lane] << lane;
    return ballot;
}

inline int __ffs(unsigned bits) { return __builtin_ffs(int(bits)); }

inline unsigned atomicAdd(unsigned* to, unsigned value) {
    const unsigned before = *to;
    *to += value;
    return before;
}

inline unsigned __float_as_uint(float value) {
    unsigned bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }

// Rounds to the nearest half, ties to even. In units of the last place of the value's binade (below 2^-14: of the
// smallest one) the significand is a whole number; counted on from the binade's own bits it carries by itself.
inline unsigned short half_bits(float value) {
    const float size = fabsf(value);
    const unsigned short sign = signbit(value) ? 0x8000 : 0;
    if (!(size < 65520.0f)) return sign | (size != size ? 0x7e00 : 0x7c00);
    const int exponent = std::max(size > 0 ? ilogbf(size) : -14, -14);
    return sign | (((exponent + 14) << 10) + int(nearbyintf(ldexpf(size, 10 - exponent))));
}

inline float half_value(unsigned short bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const float size = exponent == 31  ? (fraction ? NAN : INFINITY)
                       : exponent == 0 ? ldexpf(fraction, -24)
                                       : ldexpf(1024 + fraction, exponent - 25);
    return bits & 0x8000 ? -size : size;
}
