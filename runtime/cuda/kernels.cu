// The untrained operations on a GPU; each means what the function of maskanim/ops.py named above it does.
// Launch geometry and parameters are in kernels.py: the batch is blockIdx.z. All but the frames that go in is
// contiguous and aligned to four elements. No header is included: what brings NVRTC does not bring cuda_fp16.h.

constexpr int IMAGE = 256;                     // spec.IMAGE_SIZE
constexpr int MASK = 64;                       // spec.MASK_SIZE
constexpr int SCALE = IMAGE / MASK;
constexpr unsigned IMAGE_PIXELS = IMAGE * IMAGE;
constexpr unsigned MASK_PIXELS = MASK * MASK;

// Half precision, as it is stored.
struct Half {
    unsigned short bits;
};

// Four neighbours, read or written at once.
template <class T>
struct alignas(4 * sizeof(T)) Quad {
    T at[4];
};

#ifdef __CUDACC__  // another compiler brings its own two
__device__ unsigned short half_bits(float value) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

__device__ float half_value(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}
#endif

__device__ float value_of(float stored) { return stored; }
__device__ float value_of(Half stored) { return half_value(stored.bits); }
__device__ void store(float value, float* to) { *to = value; }
__device__ void store(float value, Half* to) { to->bits = half_bits(value); }

// ---- preprocess

// The input pixels that make one output pixel, along one axis: `count` from `first` on. The first of them weighs
// `head`, the last (where there are several) `tail`, those between 256, all together `total`. Weights are whole
// numbers, so that every sum is exact.
struct Span {
    int first, count;
    unsigned head, tail, total;

    __device__ unsigned weight(int k) const { return k == 0 ? head : k == count - 1 ? tail : 256; }
};

// Shrinking: output pixel i covers the input from i to i + 1 times side/256, here in units of 1/256 pixel.
__device__ Span area_span(int i, int side) {
    const int from = i * side, to = from + side;
    const int first = from / 256, last = (to - 1) / 256;
    const int head = first == last ? side : (first + 1) * 256 - from;
    return {first, last - first + 1, unsigned(head), unsigned(to - last * 256), unsigned(side)};
}

// Enlarging: output pixel i lies (i + 0.5) * side/256 - 0.5 from the first pixel's centre, in units of 1/512 pixel.
__device__ Span bilinear_span(int i, int side) {
    const int position = (2 * i + 1) * side - 256;
    const int first = position / 512;
    if (position < 0 || first == side - 1) return {position < 0 ? 0 : first, 1, 512, 0, 512};
    const unsigned fraction = position % 512;
    return {first, 2, 512 - fraction, fraction, 512};
}

__device__ Span span(int i, int side) { return side < IMAGE ? bilinear_span(i, side) : area_span(i, side); }

// One thread for each output pixel, one block for each output row.
template <class T>
__device__ void preprocess(
    const unsigned char* frames, long long frame_stride, long long row_stride, int side, T* images) {
    const Span rows = span(blockIdx.x, side), columns = span(threadIdx.x, side);
    const unsigned char* corner = frames + blockIdx.z * frame_stride + rows.first * row_stride + 3 * columns.first;
    unsigned long long sums[3] = {0, 0, 0};
    for (int i = 0; i < rows.count; ++i) {
        unsigned row_sums[3] = {0, 0, 0};
        for (int j = 0; j < columns.count; ++j)
            for (int c = 0; c < 3; ++c) row_sums[c] += columns.weight(j) * corner[i * row_stride + 3 * j + c];
        for (int c = 0; c < 3; ++c) sums[c] += (unsigned long long)rows.weight(i) * row_sums[c];
    }
    const float white = (float)(255ull * rows.total * columns.total);
    T* image = images + blockIdx.z * (size_t)(3 * IMAGE_PIXELS) + blockIdx.x * IMAGE + threadIdx.x;
    for (int c = 0; c < 3; ++c) store((float)sums[c] / white, image + c * IMAGE_PIXELS);
}

// ops.preprocess, from the centred square on: its first pixel, strides in bytes, side in pixels.
extern "C" __global__ void preprocess_half(
    const unsigned char* frames, long long frame_stride, long long row_stride, int side, Half* images) {
    preprocess(frames, frame_stride, row_stride, side, images);
}

// ops.preprocess, likewise.
extern "C" __global__ void preprocess_float(
    const unsigned char* frames, long long frame_stride, long long row_stride, int side, float* images) {
    preprocess(frames, frame_stride, row_stride, side, images);
}

// ---- D

// One thread for each output pixel; blockIdx.y is the channel.
template <class T>
__device__ void downscale(const T* images, T* smalls) {
    const unsigned pixel = blockIdx.x * blockDim.x + threadIdx.x, i = pixel / MASK, j = pixel % MASK;
    const size_t plane = blockIdx.z * 3 + blockIdx.y;
    const auto* rows = (const Quad<T>*)(images + plane * IMAGE_PIXELS);
    const Quad<T> top = rows[(SCALE * i + 1) * MASK + j], bottom = rows[(SCALE * i + 2) * MASK + j];
    const float sum = value_of(top.at[1]) + value_of(top.at[2]) + value_of(bottom.at[1]) + value_of(bottom.at[2]);
    store(0.25f * sum, smalls + plane * MASK_PIXELS + pixel);
}

// ops.downscale, added up in float and rounded once.
extern "C" __global__ void downscale_half(const Half* images, Half* smalls) { downscale(images, smalls); }

// ops.downscale.
extern "C" __global__ void downscale_float(const float* images, float* smalls) { downscale(images, smalls); }

// ---- P_test

constexpr int MEDIAN_THREADS = 256;  // as in kernels.py
constexpr int QUADS = MASK_PIXELS / 4 / MEDIAN_THREADS;
constexpr int BINS = 256, LANES = 32, BINS_OF_LANE = BINS / LANES;
constexpr unsigned MEDIAN_RANK = (MASK_PIXELS - 1) / 2;
constexpr unsigned WHOLE_WARP = 0xffffffffu;
constexpr unsigned SIGN = 0x80000000u;

// Unsigned integers in the order of the floats.
__device__ unsigned key_of(float value) {
    const unsigned bits = __float_as_uint(value);
    return bits & SIGN ? ~bits : bits | SIGN;
}

__device__ float value_of_key(unsigned key) { return __uint_as_float(key & SIGN ? key ^ SIGN : ~key); }

// The bin in which a histogram's element of this rank is; `rank` becomes its rank among that bin's elements. Every lane
// of a warp calls it and has the answer; every warp finds it for itself, which saves a barrier.
__device__ unsigned find_bin(const unsigned* histogram, unsigned* rank) {
    const unsigned lane = threadIdx.x % LANES;
    unsigned counts[BINS_OF_LANE], own = 0;
    for (int k = 0; k < BINS_OF_LANE; ++k) own += counts[k] = histogram[BINS_OF_LANE * lane + k];
    unsigned through = own;  // the elements in the bins of this lane and of all lower ones
    for (unsigned step = 1; step < LANES; step *= 2) {
        const unsigned lower = __shfl_up_sync(WHOLE_WARP, through, step);
        if (lane >= step) through += lower;
    }
    const int finder = __ffs(__ballot_sync(WHOLE_WARP, through > *rank)) - 1;
    unsigned bin = 0, before = through - own;  // from here on of use in the finder alone
    for (unsigned k = 0, upto = before; k < BINS_OF_LANE - 1; ++k) {
        upto += counts[k];
        if (upto <= *rank) bin = k + 1, before = upto;
    }
    *rank = __shfl_sync(WHOLE_WARP, *rank - before, finder);
    return finder * BINS_OF_LANE + __shfl_sync(WHOLE_WARP, bin, finder);
}

// The lower median of the 4096 pixels that a block's threads hold: a radix selection, eight bits of the key at a time.
__device__ float lower_median(const Quad<float>* pixels) {
    alignas(16) __shared__ unsigned histograms[4][BINS];  // one for each digit: all are cleared with one barrier
    for (int digit = 0; digit < 4; ++digit) histograms[digit][threadIdx.x] = 0;
    __syncthreads();
    unsigned median = 0, rank = MEDIAN_RANK;
#pragma unroll
    for (int digit = 3; digit >= 0; --digit) {
        const int shift = 8 * digit;
        for (int q = 0; q < QUADS; ++q)
            for (int k = 0; k < 4; ++k) {
                const unsigned key = key_of(pixels[q].at[k]);
                const bool candidate = (key ^ median) >> shift < BINS;  // its higher digits are the median's
                if (candidate) atomicAdd(&histograms[digit][key >> shift & (BINS - 1)], 1u);
            }
        __syncthreads();
        median |= find_bin(histograms[digit], &rank) << shift;
    }
    return value_of_key(median);
}

// ops.perturb, kind "median": one block for each mask, whose pixels stay in registers.
extern "C" __global__ void __launch_bounds__(MEDIAN_THREADS) perturb_median(const float* masks, float* perturbed) {
    const size_t first = blockIdx.z * (size_t)(MASK_PIXELS / 4) + threadIdx.x;
    Quad<float> pixels[QUADS];
    for (int q = 0; q < QUADS; ++q) pixels[q] = ((const Quad<float>*)masks)[first + q * MEDIAN_THREADS];
    const float median = lower_median(pixels);
    for (int q = 0; q < QUADS; ++q) {
        for (float& pixel : pixels[q].at) pixel = pixel >= median ? pixel : 0.0f;
        ((Quad<float>*)perturbed)[first + q * MEDIAN_THREADS] = pixels[q];
    }
}

// ops.perturb, kind "fixed".
extern "C" __global__ void perturb_fixed(const float* masks, float* perturbed, float threshold) {
    const size_t quad = blockIdx.z * (size_t)(MASK_PIXELS / 4) + blockIdx.x * blockDim.x + threadIdx.x;
    Quad<float> pixels = ((const Quad<float>*)masks)[quad];
    for (float& pixel : pixels.at) pixel = pixel > threshold ? pixel : 0.0f;
    ((Quad<float>*)perturbed)[quad] = pixels;
}

__device__ int floored_byte(const float* mask, int i, int j) {
    const bool inside = i >= 0 && i < MASK && j >= 0 && j < MASK;
    return inside ? (int)(mask[i * MASK + j] * 255.0f) : 0;
}

// ops.shrink: one thread for each pixel, which lies at (8x - 63) / 6; eleven pixels are added so that it is positive.
extern "C" __global__ void shrink(const float* masks, float* shrunk) {
    const int pixel = blockIdx.x * blockDim.x + threadIdx.x;
    const int y = 8 * (pixel / MASK) + 3, x = 8 * (pixel % MASK) + 3;
    const int i = y / 6 - 11, below = y % 6, j = x / 6 - 11, right = x % 6;
    const float* mask = masks + blockIdx.z * (size_t)MASK_PIXELS;
    const int top = (6 - right) * floored_byte(mask, i, j) + right * floored_byte(mask, i, j + 1);
    const int bottom = (6 - right) * floored_byte(mask, i + 1, j) + right * floored_byte(mask, i + 1, j + 1);
    const int sum = (6 - below) * top + below * bottom;
    shrunk[blockIdx.z * (size_t)MASK_PIXELS + pixel] = (float)((sum + 18) / 36) / 255.0f;
}

// ---- U

// Of the four output pixels that lie in an input pixel, the one numbered `phase`. Every product and the sum round by
// themselves, as in NumPy: a fused multiply-add would not be equal to the bit.
__device__ float interpolate(int phase, float before, float centre, float after) {
    const float weight = phase == 0 || phase == 3 ? 0.625f : 0.875f;
    return __fadd_rn(__fmul_rn(weight, centre), __fmul_rn(1.0f - weight, phase < 2 ? before : after));
}

// ops.upscale: a block writes the four output rows of one input row, a thread four neighbours in one of them.
extern "C" __global__ void upscale(const float* masks, float* masks_up) {
    const int i = blockIdx.x, j = threadIdx.x, phase = threadIdx.y;
    const int left = j > 0 ? j - 1 : 0, right = j < MASK - 1 ? j + 1 : j;
    const int above = i > 0 ? i - 1 : 0, below = i < MASK - 1 ? i + 1 : i;
    const float* mask = masks + blockIdx.z * (size_t)MASK_PIXELS;
    const float *centre = mask + i * MASK, *other = mask + (phase < 2 ? above : below) * MASK;
    Quad<float> out;
    for (int k = 0; k < SCALE; ++k) {
        const float near = interpolate(k, centre[left], centre[j], centre[right]);
        const float far = interpolate(k, other[left], other[j], other[right]);
        out.at[k] = interpolate(phase, far, near, far);
    }
    ((Quad<float>*)masks_up)[(blockIdx.z * (size_t)IMAGE + SCALE * i + phase) * MASK + j] = out;
}

// ---- postprocess

__device__ unsigned char byte_of(float value) { return (unsigned char)rintf(fminf(fmaxf(value, 0.0f), 1.0f) * 255.0f); }

// One thread for each four neighbouring pixels.
template <class T>
__device__ void postprocess(const T* images, unsigned char* frames) {
    const unsigned quad = blockIdx.x * blockDim.x + threadIdx.x;
    const auto* planes = (const Quad<T>*)(images + blockIdx.z * (size_t)(3 * IMAGE_PIXELS));
    Quad<unsigned char> bytes[3];
    for (int c = 0; c < 3; ++c) {
        const Quad<T> values = planes[c * (IMAGE_PIXELS / 4) + quad];
        for (int k = 0; k < 4; ++k) bytes[(3 * k + c) / 4].at[(3 * k + c) % 4] = byte_of(value_of(values.at[k]));
    }
    auto* pixels = (Quad<unsigned char>*)(frames + blockIdx.z * (size_t)(3 * IMAGE_PIXELS)) + 3 * quad;
    for (int b = 0; b < 3; ++b) pixels[b] = bytes[b];
}

// ops.postprocess.
extern "C" __global__ void postprocess_half(const Half* images, unsigned char* frames) {
    postprocess(images, frames);
}

// ops.postprocess.
extern "C" __global__ void postprocess_float(const float* images, unsigned char* frames) {
    postprocess(images, frames);
}
