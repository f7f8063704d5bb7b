/* A GenTL producer for tests: one system, one interface, one camera `Test-Eye-G0001` with one stream.

   Build: gcc -shared -fPIC -O1 -o eye.cti gentl_producer.c -lpthread
   GENTL_TEST_XML names the camera's description; its registers are those of gige_description.py, big endian.
   What a consumer need not ask for is not implemented. Source: GenICam GenTL 1.5, chapter 6. */

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef int32_t Error;
enum { OK = 0, NOT_IMPLEMENTED = -1003, IN_USE = -1004, ACCESS_DENIED = -1005, INVALID_HANDLE = -1006, NO_DATA = -1008,
       INVALID_PARAMETER = -1009, TIMEOUT = -1011, ABORT = -1012, NOT_AVAILABLE = -1014, TOO_SMALL = -1016 };
enum { T_STRING = 1, T_INT32 = 5, T_UINT32 = 6, T_UINT64 = 8, T_PTR = 10, T_BOOL = 11, T_SIZE = 12 };

#define API __attribute__((visibility("default"))) Error
#define XML_AT 0x10000
#define MAX_BUFFERS 16
#define R_WIDTH 0x2000
#define R_HEIGHT 0x2004
#define R_FORMAT 0x2010
#define R_ACQUIRE 0x201C
#define R_RATE 0x2024
#define R_TRIGGER_MODE 0x2034
#define R_TRIGGER_SOFTWARE 0x203C

typedef struct {
    uint8_t *base;
    size_t size, filled;
    void *user;
    int queued, incomplete;
    uint64_t frame, ns;
    size_t width, height;
    uint64_t format;
} Buffer;

static char tl, iface, dev, port, stream, event; /* their addresses are the handles */
static uint8_t *memory;
static size_t memory_size;
static Buffer buffers[MAX_BUFFERS];
static int n_buffers, opened, grabbing, running, triggers, killed;
static Buffer *input[MAX_BUFFERS], *output[MAX_BUFFERS];
static int n_input, n_output;
static uint64_t frame_id, delivered;
static pthread_t thread;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER;

static uint32_t reg(uint32_t at) {
    return (uint32_t)memory[at] << 24 | memory[at + 1] << 16 | memory[at + 2] << 8 | memory[at + 3];
}
static void put(uint32_t at, uint32_t value) {
    for (int i = 0; i < 4; i++) memory[at + i] = value >> (24 - 8 * i);
}
static float real(uint32_t at) {
    uint32_t raw = reg(at);
    float value;
    memcpy(&value, &raw, 4);
    return value;
}
static void put_real(uint32_t at, float value) {
    uint32_t raw;
    memcpy(&raw, &value, 4);
    put(at, raw);
}
static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}
static Error give(const void *value, size_t length, int32_t kind, int32_t *type, void *out, size_t *size) {
    if (type) *type = kind;
    if (out && *size < length) return TOO_SMALL;
    if (out) memcpy(out, value, length);
    *size = length;
    return OK;
}
static Error text(const char *value, int32_t *type, void *out, size_t *size) {
    return give(value, strlen(value) + 1, T_STRING, type, out, size);
}
static Error number(uint64_t value, int32_t kind, int32_t *type, void *out, size_t *size) {
    return give(&value, kind == T_BOOL ? 1 : kind == T_INT32 || kind == T_UINT32 ? 4 : 8, kind, type, out, size);
}

/* -- the camera: fills what is in the input pool, at its rate or at its trigger ------------------------------- */

static void fill(Buffer *b) {
    size_t width = reg(R_WIDTH), height = reg(R_HEIGHT), n = 0;
    b->format = reg(R_FORMAT);
    int bytes = (b->format >> 16 & 0xff) > 8 ? 2 : 1;
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width && n + bytes <= b->size; x++) {
            unsigned value = (x * 37 + y * 101) % (bytes == 2 ? 4096 : 256);
            b->base[n++] = value;
            if (bytes == 2) b->base[n++] = value >> 8;
        }
    b->filled = n;
    b->width = width;
    b->height = height;
    b->ns = now_ns();
    b->incomplete = frame_id % 10 == 0; /* every tenth lacks something */
}
static void *camera(void *unused) {
    uint64_t due = now_ns();
    (void)unused;
    while (running) {
        usleep(500);
        pthread_mutex_lock(&lock);
        int take = 0;
        if (grabbing && reg(R_ACQUIRE)) {
            if (reg(R_TRIGGER_MODE)) take = triggers > 0 && triggers--;
            else if (now_ns() >= due) take = 1;
        }
        if (take) {
            due = now_ns() + (uint64_t)(1e9 / real(R_RATE));
            frame_id++;
            if (n_input) {
                Buffer *b = input[0];
                memmove(input, input + 1, --n_input * sizeof *input);
                b->frame = frame_id;
                fill(b);
                output[n_output++] = b;
                delivered++;
                pthread_cond_broadcast(&filled);
            }
        }
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

/* -- the library, ports --------------------------------------------------------------------------------------- */

API GCInitLib(void) {
    if (memory) return IN_USE;
    const char *path = getenv("GENTL_TEST_XML");
    FILE *file = path ? fopen(path, "rb") : NULL;
    if (!file) return NOT_AVAILABLE;
    fseek(file, 0, SEEK_END);
    long length = ftell(file);
    rewind(file);
    memory_size = XML_AT + length;
    memory = calloc(1, memory_size + 8);
    if (fread(memory + XML_AT, 1, length, file) != (size_t)length) return NOT_AVAILABLE;
    fclose(file);
    put(R_WIDTH, 64), put(R_HEIGHT, 48), put(R_FORMAT, 0x01080001), put(0x2014, 1), put(0x2018, 1), put(0x2020, 1);
    put_real(R_RATE, 50), put_real(0x2028, 10000);
    running = 1;
    pthread_create(&thread, NULL, camera, NULL);
    return OK;
}
API GCCloseLib(void) {
    running = 0;
    pthread_join(thread, NULL);
    free(memory);
    memory = NULL;
    return OK;
}
API GCGetInfo(int32_t what, int32_t *type, void *out, size_t *size) {
    if (what == 8) return number(1, T_INT32, type, out, size);
    if (what == 9) return number(1, T_UINT32, type, out, size);
    if (what == 10) return number(5, T_UINT32, type, out, size);
    return text(what == 4 ? "Custom" : what == 3 ? "1.0" : what == 1 ? "Test" : "test.cti", type, out, size);
}
API GCGetLastError(Error *code, char *out, size_t *size) {
    *code = OK;
    return text("no more is known", NULL, out, size);
}
API GCReadPort(void *h, uint64_t at, void *out, size_t *size) {
    if (h != &port) return NOT_IMPLEMENTED;
    if (at + *size > memory_size + 8) return INVALID_PARAMETER;
    memcpy(out, memory + at, *size);
    return OK;
}
API GCWritePort(void *h, uint64_t at, const void *in, size_t *size) {
    if (h != &port || at + *size > XML_AT) return INVALID_PARAMETER;
    pthread_mutex_lock(&lock);
    memcpy(memory + at, in, *size);
    if (at == R_TRIGGER_SOFTWARE) triggers++;
    pthread_mutex_unlock(&lock);
    return OK;
}
API GCGetPortURL(void *h, char *out, size_t *size) {
    char url[64];
    if (h != &port) return NOT_AVAILABLE;
    snprintf(url, sizeof url, "local:eye.xml;%x;%zx", XML_AT, memory_size - XML_AT);
    return text(url, NULL, out, size);
}
API GCGetNumPortURLs(void *h, uint32_t *n) { *n = 1; return h == &port ? OK : NOT_AVAILABLE; }
API GCGetPortURLInfo(void *h, uint32_t i, int32_t what, int32_t *type, void *out, size_t *size) {
    if (h != &port || i) return NOT_AVAILABLE;
    if (what == 0) { if (type) *type = T_STRING; return GCGetPortURL(h, out, size); }
    if (what == 9) return number(0, T_INT32, type, out, size);
    return number(1, T_INT32, type, out, size);
}
API GCGetPortInfo(void *h, int32_t what, int32_t *type, void *out, size_t *size) {
    (void)h;
    if (what >= 5 && what <= 10) return number(what == 6 || what == 7 || what == 8, T_BOOL, type, out, size);
    return text(what == 4 || what == 12 || what == 0 ? "Device" : what == 3 ? "Custom" : "Test", type, out, size);
}
API GCReadPortStacked(void *h, void *e, size_t *n) { (void)h, (void)e, (void)n; return NOT_IMPLEMENTED; }
API GCWritePortStacked(void *h, void *e, size_t *n) { (void)h, (void)e, (void)n; return NOT_IMPLEMENTED; }

/* -- events --------------------------------------------------------------------------------------------------- */

API GCRegisterEvent(void *h, int32_t kind, void **e) {
    if (h != &stream || kind != 1) return NOT_IMPLEMENTED;
    *e = &event;
    return OK;
}
API GCUnregisterEvent(void *h, int32_t kind) { (void)h, (void)kind; return OK; }
API EventGetData(void *e, void *out, size_t *size, uint64_t ms) {
    struct { void *buffer, *user; } __attribute__((packed)) data;
    struct timespec until;
    Error result = OK;
    (void)e;
    clock_gettime(CLOCK_REALTIME, &until);
    if (ms > 10000) ms = 10000;
    until.tv_sec += ms / 1000, until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    pthread_mutex_lock(&lock);
    while (!n_output && !killed && !result)
        if (pthread_cond_timedwait(&filled, &lock, &until)) result = TIMEOUT;
    if (n_output) {
        result = OK;
        data.buffer = output[0], data.user = output[0]->user;
        output[0]->queued = 0;
        memmove(output, output + 1, --n_output * sizeof *output);
        memcpy(out, &data, sizeof data);
        *size = sizeof data;
    } else if (killed) {
        killed = 0;
        result = ABORT;
    }
    pthread_mutex_unlock(&lock);
    return result;
}
API EventGetDataInfo(void *e, const void *in, size_t n, int32_t what, int32_t *type, void *out, size_t *size) {
    (void)e, (void)n;
    return give((const char *)in + (what ? 8 : 0), 8, T_PTR, type, out, size);
}
API EventGetInfo(void *e, int32_t what, int32_t *type, void *out, size_t *size) {
    (void)e;
    if (what == 0) return number(1, T_INT32, type, out, size);
    return number(what == 1 ? (uint64_t)n_output : what == 2 ? delivered : 16, what == 2 ? T_UINT64 : T_SIZE, type, out, size);
}
API EventFlush(void *e) { (void)e; n_output = 0; return OK; }
API EventKill(void *e) { (void)e; killed = 1; pthread_cond_broadcast(&filled); return OK; }

/* -- system, interface, device -------------------------------------------------------------------------------- */

API TLOpen(void **h) { *h = &tl; return OK; }
API TLClose(void *h) { (void)h; return OK; }
API TLGetInfo(void *h, int32_t what, int32_t *type, void *out, size_t *size) { (void)h; return GCGetInfo(what, type, out, size); }
API TLGetNumInterfaces(void *h, uint32_t *n) { (void)h; *n = 1; return OK; }
API TLGetInterfaceID(void *h, uint32_t i, char *out, size_t *size) { (void)h, (void)i; return text("if0", NULL, out, size); }
API IFGetInfo(void *h, int32_t what, int32_t *type, void *out, size_t *size) { (void)h; return text(what == 2 ? "Custom" : "if0", type, out, size); }
API TLGetInterfaceInfo(void *h, const char *id, int32_t what, int32_t *type, void *out, size_t *size) { (void)id; return IFGetInfo(h, what, type, out, size); }
API TLOpenInterface(void *h, const char *id, void **i) { (void)h, (void)id; *i = &iface; return OK; }
API TLUpdateInterfaceList(void *h, uint8_t *changed, uint64_t ms) { (void)h, (void)ms; if (changed) *changed = 1; return OK; }
API IFClose(void *h) { (void)h; return OK; }
API IFGetNumDevices(void *h, uint32_t *n) { (void)h; *n = 1; return OK; }
API IFGetDeviceID(void *h, uint32_t i, char *out, size_t *size) { (void)h, (void)i; return text("eye-device", NULL, out, size); }
API IFUpdateDeviceList(void *h, uint8_t *changed, uint64_t ms) { (void)h, (void)ms; if (changed) *changed = 1; return OK; }
API DevGetInfo(void *h, int32_t what, int32_t *type, void *out, size_t *size) {
    static const char *texts[] = {"eye-device", "Test", "Eye", "Custom", "Test Eye", "", "left door", "G0001", "1.0"};
    (void)h;
    if (what == 5) return number(opened ? 5 : 1, T_INT32, type, out, size);
    if (what == 9) return number(1000000000, T_UINT64, type, out, size);
    if (what > 9) return NOT_AVAILABLE;
    return text(texts[what], type, out, size);
}
API IFGetDeviceInfo(void *h, const char *id, int32_t what, int32_t *type, void *out, size_t *size) { (void)id; return DevGetInfo(h, what, type, out, size); }
API IFOpenDevice(void *h, const char *id, int32_t flags, void **d) {
    (void)h, (void)id, (void)flags;
    if (opened) return IN_USE;
    opened = 1;
    *d = &dev;
    return OK;
}
API DevGetPort(void *h, void **p) { (void)h; *p = &port; return OK; }
API DevGetNumDataStreams(void *h, uint32_t *n) { (void)h; *n = 1; return OK; }
API DevGetDataStreamID(void *h, uint32_t i, char *out, size_t *size) { (void)h, (void)i; return text("stream0", NULL, out, size); }
API DevOpenDataStream(void *h, const char *id, void **s) { (void)h, (void)id; *s = &stream; return OK; }
API DevClose(void *h) { (void)h; opened = 0; return OK; }
API IFGetParentTL(void *h, void **p) { (void)h; *p = &tl; return OK; }
API DevGetParentIF(void *h, void **p) { (void)h; *p = &iface; return OK; }
API DSGetParentDev(void *h, void **p) { (void)h; *p = &dev; return OK; }

/* -- the stream ----------------------------------------------------------------------------------------------- */

API DSAnnounceBuffer(void *h, void *base, size_t size, void *user, void **b) {
    (void)h;
    if (n_buffers == MAX_BUFFERS) return INVALID_PARAMETER;
    buffers[n_buffers] = (Buffer){.base = base, .size = size, .user = user};
    *b = &buffers[n_buffers++];
    return OK;
}
API DSAllocAndAnnounceBuffer(void *h, size_t size, void *user, void **b) { (void)h, (void)size, (void)user, (void)b; return NOT_IMPLEMENTED; }
API DSFlushQueue(void *h, int32_t what) {
    (void)h;
    pthread_mutex_lock(&lock);
    if (what == 4 || what == 1) n_output = 0;
    if (what == 4) n_input = 0;
    pthread_mutex_unlock(&lock);
    return OK;
}
API DSStartAcquisition(void *h, int32_t flags, uint64_t n) { (void)h, (void)flags, (void)n; frame_id = delivered = 0; grabbing = 1; return OK; }
API DSStopAcquisition(void *h, int32_t flags) { (void)h, (void)flags; grabbing = 0; return OK; }
API DSGetInfo(void *h, int32_t what, int32_t *type, void *out, size_t *size) {
    (void)h;
    if (what == 0) return text("stream0", type, out, size);
    if (what == 10) return text("Custom", type, out, size);
    if (what == 8 || what == 9) return number(what == 8 && grabbing, T_BOOL, type, out, size);
    if (what == 12) return number(2, T_SIZE, type, out, size);
    if (what == 13) return number(1, T_SIZE, type, out, size);
    if (what == 1 || what == 6) return number(delivered, T_UINT64, type, out, size);
    if (what == 3) return number(n_buffers, T_SIZE, type, out, size);
    return what == 2 ? number(0, T_UINT64, type, out, size) : number(0, T_SIZE, type, out, size);
}
API DSGetBufferID(void *h, uint32_t i, void **b) { (void)h; *b = &buffers[i]; return OK; }
API DSClose(void *h) { (void)h; grabbing = 0; n_buffers = n_input = n_output = 0; return OK; }
API DSRevokeBuffer(void *h, void *b, void **base, void **user) {
    Buffer *revoked = b;
    (void)h;
    if (base) *base = revoked->base;
    if (user) *user = revoked->user;
    if (revoked == &buffers[n_buffers - 1]) n_buffers--;
    else if (n_buffers) revoked->base = NULL;
    int left = 0;
    for (int i = 0; i < n_buffers; i++) left += buffers[i].base != NULL;
    if (!left) n_buffers = 0;
    return OK;
}
API DSQueueBuffer(void *h, void *b) {
    (void)h;
    pthread_mutex_lock(&lock);
    ((Buffer *)b)->queued = 1;
    if (n_input < MAX_BUFFERS) input[n_input++] = b;
    pthread_mutex_unlock(&lock);
    return OK;
}
API DSGetBufferInfo(void *h, void *handle, int32_t what, int32_t *type, void *out, size_t *size) {
    Buffer *b = handle;
    (void)h;
    switch (what) {
    case 0: return give(&b->base, 8, T_PTR, type, out, size);
    case 1: return number(b->size, T_SIZE, type, out, size);
    case 2: return give(&b->user, 8, T_PTR, type, out, size);
    case 3: case 28: return number(b->ns, T_UINT64, type, out, size);
    case 4: return number(1, T_BOOL, type, out, size);
    case 5: return number(b->queued, T_BOOL, type, out, size);
    case 6: case 29: case 30: return number(0, T_BOOL, type, out, size);
    case 7: return number(b->incomplete, T_BOOL, type, out, size);
    case 8: return text("Custom", type, out, size);
    case 9: case 27: return number(b->filled, T_SIZE, type, out, size);
    case 10: return number(b->width, T_SIZE, type, out, size);
    case 11: case 22: return number(b->height, T_SIZE, type, out, size);
    case 12: case 13: case 14: case 15: case 18: case 23: return number(0, T_SIZE, type, out, size);
    case 16: return number(b->frame, T_UINT64, type, out, size);
    case 17: return number(1, T_BOOL, type, out, size);
    case 19: return number(1, T_SIZE, type, out, size);
    case 20: return number(b->format, T_UINT64, type, out, size);
    case 21: return number(4, T_UINT64, type, out, size);
    case 26: return number(1, T_INT32, type, out, size);
    }
    return NOT_AVAILABLE;
}
API DSGetBufferChunkData(void *h, void *b, void *chunks, size_t *n) { (void)h, (void)b, (void)chunks; *n = 0; return OK; }
API DSGetNumBufferParts(void *h, void *b, uint32_t *n) { (void)h, (void)b; *n = 0; return OK; }
API DSGetBufferPartInfo(void *h, void *b, uint32_t i, int32_t what, int32_t *type, void *out, size_t *size) {
    (void)h, (void)b, (void)i, (void)what, (void)type, (void)out, (void)size;
    return NOT_AVAILABLE;
}
