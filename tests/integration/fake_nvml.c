/* A small stand-in for the driver's library, for machines without a GPU. The real binding loads it.
 *
 * Eight cards: 0 to 3 are linked by NVLink, so are 4 and 5, and 6 with 0 alone; the third is cut into two MIG devices; the sixth has fallen off
 * the bus before anybody looked. On SIGUSR1 the fifth falls off, with a word (Xid 79), or is back, and has to be registered
 * anew; on SIGUSR2 the second reports a harmless Xid (31), then the fourth a memory error that could not be corrected and a
 * need of a reset, or it was reset. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TIMEOUT = 10, GPU_IS_LOST = 15 };
enum { CARDS = 8, CUT = 2, FALLEN = 5, FALLS = 4, SLICES = 2 };
enum { ECC = 2, XID = 8, RECOVERY = 230 };

typedef struct { int card, slice; } device; /* slice -1 is the whole card */
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned gpu, memory; } utilization;
typedef struct { unsigned id, scope; long long at, latency; int type, result; unsigned long long value; } field;
typedef struct { device *device; unsigned long long type, data; unsigned gpu_instance, compute_instance; } event;

static device cards[CARDS], slices[SLICES];
static unsigned long long registered[CARDS];
static volatile sig_atomic_t falls, errs, told, woken;

static void on_signal(int number) {
    if (number == SIGUSR1) {
        falls = !falls;
        told &= ~1;
        if (!falls) registered[FALLS] = 0;
    } else errs = !errs;
    woken = 1;
}
__attribute__((constructor)) static void begin(void) {
    signal(SIGUSR1, on_signal);
    signal(SIGUSR2, on_signal);
    falls = getenv("FAKE_NVML_FALLEN") != NULL; /* the fifth had fallen off before this process began */
    told = falls;
}
static int lost(int card) { return card == FALLEN || (card == FALLS && falls); }

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
    if (index >= CARDS) return INVALID_ARGUMENT;
    if (lost(index)) return GPU_IS_LOST;
    *result = &cards[index];
    return SUCCESS;
}
int nvmlDeviceGetUUID(device *d, char *text, unsigned length) {
    if (lost(d->card)) return GPU_IS_LOST;
    if (d->slice < 0) snprintf(text, length, "GPU-%d", d->card);
    else snprintf(text, length, "MIG-%d-%d", d->card, d->slice);
    return SUCCESS;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, device **result) {
    char text[32];
    for (int i = 0; i < CARDS + SLICES; i++) {
        device *d = i < CARDS ? &cards[i] : &slices[i - CARDS];
        if (nvmlDeviceGetUUID(d, text, sizeof text) == SUCCESS && strcmp(text, uuid) == 0) {
            *result = d;
            return SUCCESS;
        }
    }
    return NOT_FOUND;
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
int nvmlDeviceGetName(device *d, char *text, unsigned length) {
    snprintf(text, length, d->slice < 0 ? "NVIDIA H200" : "NVIDIA H200 MIG 3g.71gb");
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(device *d, memory *info) {
    info->total = (d->slice < 0 ? 143771ULL : 71424ULL) << 20;
    info->used = 1ULL << 30;
    info->free = info->total - info->used;
    return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(device *d, utilization *rates) {
    if (d->slice >= 0) return NOT_SUPPORTED;
    *rates = (utilization){90 + d->card, 50};
    return SUCCESS;
}
int nvmlDeviceGetRemappedRows(device *d, unsigned *corrected, unsigned *uncorrected, unsigned *pending, unsigned *failed) {
    *corrected = *uncorrected = *pending = 0;
    *failed = d->card == 7; /* has no row left to put in the place of a bad one */
    return SUCCESS;
}
int nvmlDeviceGetFieldValues(device *d, int count, field *values) {
    for (int i = 0; i < count; i++) {
        values[i].result = values[i].id == RECOVERY ? SUCCESS : NOT_SUPPORTED;
        values[i].value = d->card == 3 && errs && (told & 4); /* 1 is a reset */
    }
    return SUCCESS;
}
int nvmlDeviceGetP2PStatus(device *one, device *other, int kind, int *status) {
    int group[CARDS] = {1, 1, 1, 1, 2, 2, 3, 4};
    int pair = one->card + other->card == 6 && one->card * other->card == 0; /* 0 and 6, and 6 with no other */
    *status = kind == 2 && (pair || group[one->card] == group[other->card]) ? 0 : 5;
    return SUCCESS;
}

int nvmlEventSetCreate(void **set) { *set = registered; return SUCCESS; }
int nvmlEventSetFree(void *set) { return SUCCESS; }
int nvmlDeviceGetSupportedEventTypes(device *d, unsigned long long *types) { *types = ECC | XID | 1; return SUCCESS; }
int nvmlDeviceRegisterEvents(device *d, unsigned long long types, void *set) {
    registered[d->card] = types;
    return SUCCESS;
}
int nvmlEventSetWait_v2(void *set, event *data, unsigned milliseconds) {
    memset(data, 0, sizeof *data);
    for (unsigned waited = 0; waited <= milliseconds; waited += 10) {
        if (falls && !(told & 1) && registered[FALLS] == (ECC | XID)) {
            told |= 1;
            *data = (event){&cards[FALLS], XID, 79, 0, 0};
            return SUCCESS;
        }
        if (errs && !(told & 2)) {
            told |= 2;
            *data = (event){&cards[1], XID, 31, 0, 0};
            return SUCCESS;
        }
        if (errs && !(told & 4)) {
            told |= 4;
            *data = (event){&cards[3], ECC, 1, 0, 0};
            return SUCCESS;
        }
        if (woken) break; /* so that a test need not wait */
        usleep(10000);
    }
    woken = 0;
    return TIMEOUT;
}
