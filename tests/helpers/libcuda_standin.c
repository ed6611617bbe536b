/* Stands in for libcuda, so that the bindings run for real without a GPU: device memory is the host's, and whatever is
   queued runs at once, kernels by the library that KERNELS_LIBRARY names (see host.py). STANDIN_<function>=code makes
   a function fail. What is still held is told by standin_held(), by kind. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long u64;

enum kind { MEMORY, STREAM, EVENT, GRAPH, LIBRARY, KINDS };
static int held[KINDS];
int standin_held(int kind) { return held[kind]; }

static int failing(const char *function) {
    char name[80] = "STANDIN_";
    const char *code = getenv(strncat(name, function, 60));
    return code ? atoi(code) : 0;
}
#define MAY_FAIL if (failing(__func__)) return failing(__func__)

typedef char *(*launcher)(const unsigned *, void **, unsigned, int);
typedef struct work {
    struct work *next;
    void *target;
    const void *source;
    size_t bytes;
    launcher launch;
    unsigned geometry[6];
    u64 values[8];
    void *addresses[8];
} work;
typedef struct { work *first, **last; int references, capturing; } graph;
typedef struct { graph *capture; int origin; } stream;
typedef struct { graph *capture; } event;
typedef struct { char name[40]; launcher launch; int count, sizes[8]; } kernel;

static int context = 1, library = 1, current;
static stream legacy;

static stream *of(void *handle) { return (size_t)handle <= 2 ? &legacy : handle; }

/* The capture that a stream or an event takes part in, as long as it lasts. */
static graph *capture_of(graph *capture) { return capture && capture->capturing ? capture : NULL; }

static void run(const work *item) {
    if (!item->launch) { memmove(item->target, item->source, item->bytes); return; }
    char *told = item->launch(item->geometry, (void **)item->addresses, 0, 0);
    if (told) { fprintf(stderr, "%s\n", told); abort(); }
}
static int put(stream *queue, work item) {
    graph *capture = capture_of(queue->capture);
    if (!capture) { run(&item); return 0; }
    work *kept = malloc(sizeof *kept);
    *kept = item;
    for (int i = 0; i < 8; i++) kept->addresses[i] = &kept->values[i];
    kept->next = NULL;
    *capture->last = kept;
    capture->last = &kept->next;
    return 0;
}
static int copy(void *target, const void *source, size_t bytes, void *queue) {
    work item = {.target = target, .source = source, .bytes = bytes};
    return put(of(queue), item);
}

int cuInit(unsigned flags) { MAY_FAIL; return flags; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuGetErrorName(int code, const char **name) {
    *name = code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : code == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS"
        : code == 200 ? "CUDA_ERROR_INVALID_IMAGE" : code == 906 ? "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT"
        : "CUDA_ERROR_UNKNOWN";
    return 0;
}
int cuGetErrorString(int code, const char **text) { *text = code == 2 ? "out of memory" : "stand-in"; return 0; }

int cuDeviceGet(int *device, int ordinal) { MAY_FAIL; *device = ordinal; return 0; }
int cuDeviceGetCount(int *count) { MAY_FAIL; *count = 1; return 0; }
int cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "Stand-in %d", device); return 0; }
int cuDeviceGetUuid_v2(char *uuid, int device) { memset(uuid, device, 16); return 0; }
int cuDeviceGetUuid(char *uuid, int device) { return cuDeviceGetUuid_v2(uuid, device); }
int cuDeviceGetPCIBusId(char *address, int length, int device) { snprintf(address, length, "0:%d", device); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (8ull << 30) + device; return 0; }
int cuDeviceTotalMem(size_t *bytes, int device) { return cuDeviceTotalMem_v2(bytes, device); }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 : attribute == 76 ? 6 : device;
    return 0;
}
int cuDeviceComputeCapability(int *major, int *minor, int device) { *major = 8; *minor = 6 + device; return 0; }
int cuDevicePrimaryCtxRetain(void **made, int device) { MAY_FAIL; *made = &context + device; return 0; }
int cuDevicePrimaryCtxRelease(int device) { return device; }
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) { *flags = device; *active = 1; return 0; }
int cuCtxSetCurrent(void *made) { current = made != NULL; return 0; }
int cuCtxGetCurrent(void **made) { *made = current ? &context : NULL; return 0; }
int cuCtxPushCurrent(void *made) { return cuCtxSetCurrent(made); }
int cuCtxPopCurrent(void **made) { *made = &context; current = 0; return 0; }
int cuCtxGetDevice(int *device) { *device = 0; return current ? 0 : 201; }
int cuCtxGetDevice_v2(int *device, void *made) { *device = made != &context; return 0; }
int cuCtxGetApiVersion(void *made, unsigned *version) { *version = made ? 13000 : 0; return 0; }
int cuCtxSynchronize(void) { MAY_FAIL; return 0; }
int cuCtxGetStreamPriorityRange(int *least, int *greatest) { *least = 0; *greatest = -5; return 0; }

int cuMemGetInfo(size_t *left, size_t *total) { MAY_FAIL; *left = 3 << 20; *total = 8ull << 30; return 0; }
static int allocate(void **made, size_t bytes) {
    *made = aligned_alloc(256, (bytes + 255) / 256 * 256);
    held[MEMORY]++;
    return 0;
}
int cuMemAlloc(void **made, size_t bytes) { MAY_FAIL; return allocate(made, bytes); }
int cuMemFree(void *memory) { free(memory); held[MEMORY]--; return 0; }
int cuMemAllocHost(void **made, size_t bytes) { MAY_FAIL; return allocate(made, bytes); }
int cuMemHostAlloc(void **made, size_t bytes, unsigned flags) { MAY_FAIL; return flags ? 1 : allocate(made, bytes); }
int cuMemFreeHost(void *memory) { return cuMemFree(memory); }
int cuMemcpyHtoDAsync(void *to, const void *from, size_t bytes, void *queue) { MAY_FAIL; return copy(to, from, bytes, queue); }
int cuMemcpyDtoHAsync(void *to, const void *from, size_t bytes, void *queue) { MAY_FAIL; return copy(to, from, bytes, queue); }
int cuMemcpyDtoDAsync(void *to, const void *from, size_t bytes, void *queue) { MAY_FAIL; return copy(to, from, bytes, queue); }

int cuStreamCreate(stream **made, unsigned flags) { MAY_FAIL; *made = calloc(1, sizeof **made); held[STREAM]++; return flags > 1; }
int cuStreamCreateWithPriority(stream **made, unsigned flags, int priority) { MAY_FAIL; return priority > 0 ? 1 : cuStreamCreate(made, flags); }
int cuStreamDestroy(stream *queue) { free(queue); held[STREAM]--; return 0; }
int cuStreamGetCtx(stream *queue, void **made) { *made = &context; return queue == NULL; }
int cuStreamSynchronize(stream *queue) { MAY_FAIL; return capture_of(of(queue)->capture) ? 906 : 0; }
int cuEventCreate(event **made, unsigned flags) { MAY_FAIL; *made = calloc(1, sizeof **made); held[EVENT]++; return (flags & 2) ? 0 : 1; }
int cuEventDestroy(event *mark) { free(mark); held[EVENT]--; return 0; }
int cuEventRecord(event *mark, void *queue) { MAY_FAIL; mark->capture = capture_of(of(queue)->capture); return 0; }
int cuEventSynchronize(event *mark) { MAY_FAIL; return capture_of(mark->capture) ? 906 : 0; }
int cuStreamWaitEvent(void *queue, event *mark, unsigned flags) {
    MAY_FAIL;
    stream *waiting = of(queue);
    graph *theirs = capture_of(mark->capture), *ours = capture_of(waiting->capture);
    if (ours && theirs != ours) return 905;
    waiting->capture = theirs;
    return flags;
}

int cuStreamBeginCapture(stream *queue, int mode) {
    MAY_FAIL;
    graph *made = calloc(1, sizeof *made);
    made->last = &made->first;
    made->references = made->capturing = 1;
    queue->capture = made;
    queue->origin = 1;
    held[GRAPH]++;
    return mode != 1; /* thread-local */
}
int cuStreamGetCaptureInfo(stream *queue, int *status, u64 *id, graph **out, void *nodes, void *edges, size_t *count) {
    *status = capture_of(queue->capture) != NULL;
    if (id) *id = 1;
    if (out) *out = queue->capture;
    if (count) *count = 0;
    return nodes && edges && 0;
}
int cuStreamIsCapturing(stream *queue, int *status) { *status = capture_of(queue->capture) != NULL; return 0; }
int cuStreamEndCapture(stream *queue, graph **made) {
    *made = queue->capture;
    queue->capture->capturing = 0;
    return !queue->origin || failing(__func__);
}
static int release(graph *made) {
    if (--made->references) return 0;
    for (work *item = made->first, *next; item; item = next) { next = item->next; free(item); }
    free(made);
    held[GRAPH]--;
    return 0;
}
/* What a binding ties to a graph stays as long as the process. */
int cuUserObjectCreate(void **made, void *tied, void (*destroy)(void *), unsigned references, unsigned flags) {
    *made = tied;
    return !destroy || references != 1 || flags != 1;
}
int cuUserObjectRetain(void *object, unsigned references) { return !object || !references; }
int cuUserObjectRelease(void *object, unsigned references) { return !object || !references; }
int cuGraphRetainUserObject(graph *made, void *object, unsigned references, unsigned flags) {
    return !made || !object || references + flags == 0;
}
int cuGraphReleaseUserObject(graph *made, void *object, unsigned references) { return !made || !object || !references; }
int cuGraphClone(graph **made, graph *captured) { captured->references++; *made = captured; return 0; }
int cuGraphDestroy(graph *made) { return release(made); }
int cuGraphExecDestroy(graph *made) { return release(made); }
typedef struct { u64 flags; void *queue; void *node; int result; } instantiation;
int cuGraphInstantiateWithParams(graph **made, graph *captured, instantiation *asked) {
    MAY_FAIL;
    captured->references++;
    *made = captured;
    asked->result = 0;
    return 0;
}
int cuGraphUpload(graph *made, stream *queue) { return made == NULL || queue == NULL; }
int cuGraphLaunch(graph *made, stream *queue) {
    MAY_FAIL;
    for (work *item = made->first; item; item = item->next) run(item);
    return queue == NULL;
}

int cuLibraryLoadData(void **made, const void *code, void *a, void *b, unsigned c, void *d, void *e, unsigned f) {
    MAY_FAIL;
    *made = &library;
    held[LIBRARY]++;
    return code == NULL || (c + f && !a && !b && !d && !e);
}
int cuLibraryUnload(void *made) { held[LIBRARY]--; return made != &library; }
int cuModuleLoadDataEx(void **made, const void *code, unsigned n, void *a, void *b) {
    return cuLibraryLoadData(made, code, a, b, n, a, b, 0);
}
int cuModuleUnload(void *made) { return cuLibraryUnload(made); }
int cuLibraryGetKernel(kernel **made, void *from, const char *name) {
    MAY_FAIL;
    char symbol[60];
    snprintf(symbol, sizeof symbol, "launch_%s", name);
    void *kernels = dlopen(getenv("KERNELS_LIBRARY"), RTLD_NOW);
    kernel found = {.launch = (launcher)dlsym(kernels, symbol), .count = 2, .sizes = {8, 8}};
    if (!found.launch || from != &library) return 500;
    snprintf(found.name, sizeof found.name, "%s", name);
    if (strstr(name, "preprocess")) { int sizes[] = {8, 8, 8, 4, 8}; found.count = 5; memcpy(found.sizes, sizes, sizeof sizes); }
    if (strstr(name, "postprocess")) { int sizes[] = {8, 8}; found.count = 2; memcpy(found.sizes, sizes, sizeof sizes); }
    if (strstr(name, "perturb_fixed")) { found.count = 3; found.sizes[2] = 4; }
    *made = malloc(sizeof found);
    **made = found;
    return 0;
}
int cuModuleGetFunction(kernel **made, void *from, const char *name) { return cuLibraryGetKernel(made, from, name); }
typedef struct { unsigned geometry[6], shared; void *queue; void *attributes; unsigned count; } configuration;
int cuLaunchKernelEx(const configuration *asked, kernel *called, void **parameters, void **extra) {
    MAY_FAIL;
    work item = {.launch = called->launch};
    memcpy(item.geometry, asked->geometry, sizeof item.geometry);
    for (int i = 0; i < called->count; i++) {
        memcpy(&item.values[i], parameters[i], called->sizes[i]);
        item.addresses[i] = &item.values[i];
    }
    return extra || asked->shared ? 1 : put(of(asked->queue), item);
}

/* PyCUDA packs the arguments into a buffer: extra is {1, buffer, 2, its size, 0}. */
int cuFuncSetBlockShape(kernel *called, int x, int y, int z) { return !called || x * y * z < 1; }
int cuLaunchKernel(kernel *called, unsigned a, unsigned b, unsigned c, unsigned d, unsigned e, unsigned f,
                   unsigned shared, void *queue, void **parameters, void **extra) {
    configuration asked = {.geometry = {a, b, c, d, e, f}, .shared = shared, .queue = queue};
    void *places[8];
    size_t offset = 0;
    if (parameters || extra[0] != (void *)1) return 1;
    for (int i = 0; i < called->count; i++) {
        size_t size = called->sizes[i];
        offset = (offset + size - 1) / size * size;
        places[i] = (char *)extra[1] + offset;
        offset += size;
    }
    return *(size_t *)extra[3] != offset ? 1 : cuLaunchKernelEx(&asked, called, places, NULL);
}

int cuGetProcAddress_v2(const char *name, void **found, int version, u64 flags, int *status) {
    void *self = dlopen(getenv("STANDIN_LIBRARY"), RTLD_NOW);
    *found = dlsym(self, name);
    if (status) *status = !*found;
    if (getenv("STANDIN_TRACE") && !*found) fprintf(stderr, "no %s, version %d, flags %llu\n", name, version, flags);
    return *found ? 0 : 500;
}
int cuGetProcAddress(const char *name, void **found, int version, u64 flags, int *status) {
    return cuGetProcAddress_v2(name, found, version, flags, status);
}
