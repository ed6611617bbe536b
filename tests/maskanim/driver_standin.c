/* Stands in for libcuda and NVML: two GPUs. The environment says what fails:
   STANDIN_<function>=code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { unsigned long long total, free, used; } nvmlMemory_t;

static int failing(const char *function) {
    char name[80] = "STANDIN_";
    const char *code = getenv(strcat(name, function));
    return code ? atoi(code) : 0;
}
#define MAY_FAIL if (failing(__func__)) return failing(__func__)

static int started, nvml_open;

int cuInit(unsigned flags) { MAY_FAIL; started = flags == 0; return 0; }
int cuDriverGetVersion(int *version) { MAY_FAIL; *version = 13020; return 0; }
int cuGetErrorName(int code, const char **name) { *name = "CUDA_ERROR_STANDIN"; return code == 4711; }
int cuDeviceGetCount(int *count) {
    if (!started) return 3;
    MAY_FAIL;
    *count = getenv("STANDIN_COUNT") ? atoi(getenv("STANDIN_COUNT")) : 2;
    return 0;
}
int cuDeviceGet(int *device, int ordinal) { MAY_FAIL; *device = 40 + ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) {
    MAY_FAIL;
    snprintf(name, length, "NVIDIA Stand-in %d", device);
    return 0;
}
int cuDeviceGetPCIBusId(char *address, int length, int device) {
    snprintf(address, length, "0000:%02X:00.0", device);
    return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (141ull << 30) + device; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? (device == 40 ? 9 : 12) : attribute == 76 ? device - 40 : -1;
    return 0;
}

int nvmlInit_v2(void) { MAY_FAIL; nvml_open++; return 0; }
int nvmlShutdown(void) { nvml_open--; return 0; }
int standin_nvml_open(void) { return nvml_open; }
int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    MAY_FAIL;
    snprintf(version, length, "595.12.01");
    return 0;
}
/* A real NVML handle is a pointer that needs all 64 bits. */
int nvmlDeviceGetHandleByPciBusId_v2(const char *address, void **handle) {
    MAY_FAIL;
    *handle = (void *)(0x7f0000000000ull + strtoul(address + 5, NULL, 16));
    return 0;
}
static int index_of(void *handle) { return (int)((unsigned long long)handle - 0x7f0000000000ull) - 40; }
int nvmlDeviceGetMemoryInfo(void *handle, nvmlMemory_t *memory) {
    MAY_FAIL;
    *memory = (nvmlMemory_t){141ull << 30, (140ull << 30) + index_of(handle), 1ull << 30};
    return 0;
}
int nvmlDeviceGetClockInfo(void *handle, int type, unsigned *clock) {
    MAY_FAIL;
    *clock = (type == 1 ? 345 : type == 2 ? 3201 : 0) + index_of(handle);
    return 0;
}
int nvmlDeviceGetMaxClockInfo(void *handle, int type, unsigned *clock) {
    *clock = (type == 1 ? 1980 : type == 2 ? 3202 : 0) + index_of(handle);
    return 0;
}
