/* A small stand-in for the driver's library, for machines without a GPU: eight cards, of which the third
 * is cut into two MIG devices and the sixth has fallen off the bus. The real binding loads it. */

#include <stdio.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, GPU_IS_LOST = 15 };
enum { CARDS = 8, CUT = 2, LOST = 5, SLICES = 2 };

typedef struct { int card, slice; } device; /* slice -1 is the whole card */
typedef struct { unsigned long long total, free, used; } memory;

static device cards[CARDS], slices[SLICES];

int nvmlInitWithFlags(unsigned flags) {
    for (int i = 0; i < CARDS; i++) cards[i] = (device){i, -1};
    for (int i = 0; i < SLICES; i++) slices[i] = (device){CUT, i};
    return SUCCESS;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code == GPU_IS_LOST ? "GPU is lost" : "error"; }

int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    snprintf(text, length, "580.65.06");
    return SUCCESS;
}
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 13010; return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = CARDS; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **result) {
    if (index == LOST) return GPU_IS_LOST;
    *result = &cards[index];
    return index < CARDS ? SUCCESS : INVALID_ARGUMENT;
}
int nvmlDeviceGetMigMode(device *d, unsigned *current, unsigned *pending) {
    if (d->card == 0) return NOT_SUPPORTED;
    *current = *pending = d->card == CUT;
    return SUCCESS;
}
int nvmlDeviceGetMaxMigDeviceCount(device *d, unsigned *count) { *count = 7; return SUCCESS; }
int nvmlDeviceGetMigDeviceHandleByIndex(device *d, unsigned index, device **result) {
    if (index >= SLICES) return NOT_FOUND;
    *result = &slices[index];
    return SUCCESS;
}
int nvmlDeviceGetUUID(device *d, char *text, unsigned length) {
    if (d->slice < 0) snprintf(text, length, "GPU-%d", d->card);
    else snprintf(text, length, "MIG-%d-%d", d->card, d->slice);
    return SUCCESS;
}
int nvmlDeviceGetName(device *d, char *text, unsigned length) {
    snprintf(text, length, d->slice < 0 ? "NVIDIA H200" : "NVIDIA H200 MIG 3g.71gb");
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(device *d, memory *info) {
    info->total = (d->slice < 0 ? 143771ULL : 71424ULL) << 20;
    info->free = info->total;
    info->used = 0;
    return SUCCESS;
}
