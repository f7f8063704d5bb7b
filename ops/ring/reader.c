/* Reads pictures of a frame ring in place, in C: an example to begin from.
 *
 *   cc -O2 -o ring-reader reader.c && ./ring-reader /dev/shm/framemesh/cam0.1.0123456789abcdef.ring 5
 *
 * Prints a line for each of the next COUNT pictures: sequence, captured_ns, pts_ns, Adler-32 of its bytes. A picture that
 * is overwritten before it is looked at is passed over. The format is version 1, described in shared/ring/layout.py;
 * who reads references on the bus (mesh.v1.frames.<node>.<stream>) has ring, slot and sequence from there and need not
 * look for the newest. Ends with 0, or with 1 and a reason: not a ring, its writer is gone, no picture for 5 s.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 4096, SLOT_HEADER = 64, MAX_SLOTS = 256, PATIENCE_MS = 5000 };

struct header { /* little endian, as every machine that runs this */
    char magic[8];
    uint32_t version, pixel_format;
    uint64_t ring_id, epoch, last_sequence, superseded_by, closed, frame_bytes, slot_stride, slots_offset;
    uint32_t width, height, slots, delivery;
    uint64_t created_ns, reserved[3];
    char stream[64], node[64];
};
struct slot {
    uint64_t sequence;
    int64_t pts_ns, captured_ns, monotonic_ns, duration_ns;
    uint64_t clock;
    uint8_t matrix, primaries, transfer, range, reserved[12];
};
_Static_assert(sizeof(struct header) == 256 && sizeof(struct slot) == SLOT_HEADER, "the layout is fixed");

static int fail(const char *why) { return fprintf(stderr, "ring-reader: %s\n", why), 1; }

/* One byte's lock, without waiting: F_OFD_SETLK takes or gives it back, F_OFD_GETLK asks. */
static int lock(int fd, int command, short type, off_t at, short *found) {
    struct flock request = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    int done = fcntl(fd, command, &request);
    if (found) *found = request.l_type;
    return done;
}

static uint32_t adler32_of(const uint8_t *bytes, uint64_t count) {
    uint32_t low = 1, high = 0;
    for (; count; count--) low = (low + *bytes++) % 65521, high = (high + low) % 65521;
    return high << 16 | low;
}

int main(int argc, char **argv) {
    if (argc != 3) return fail("give a ring file and how many pictures to read");
    int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    struct stat file;
    if (fd < 0 || fstat(fd, &file) || file.st_size < HEADER) return fail("cannot be opened, or is no ring");
    const uint8_t *map = mmap(NULL, file.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) return fail("cannot be mapped");
    const struct header *ring = (const void *)map;
    /* Nothing in the file is believed: each offset has to lie within it. The writer never changes these. */
    if (memcmp(ring->magic, "fmring\r\n", 8) || ring->version != 1) return fail("not a ring of version 1");
    const uint64_t size = file.st_size, frame = ring->frame_bytes, stride = ring->slot_stride, first = ring->slots_offset;
    const uint32_t slots = ring->slots;
    if (slots < 2 || slots > MAX_SLOTS || first < HEADER + (uint64_t)slots * SLOT_HEADER || first > size ||
        frame > stride || stride > (size - first) / slots)
        return fail("its header does not fit its file");
    const struct slot *heads = (const void *)(map + HEADER);

    uint64_t seen = 0;
    int left = atoi(argv[2]), waited_ms = 0;
    while (left > 0) {
        /* The commit is a plain aligned store of 64 bits: newest first, then the slot that holds it. */
        uint64_t newest = __atomic_load_n(&ring->last_sequence, __ATOMIC_ACQUIRE);
        uint32_t at = 0;
        while (at < slots && __atomic_load_n(&heads[at].sequence, __ATOMIC_ACQUIRE) != newest) at++;
        if (newest == seen || newest == 0 || at == slots) {
            short writer;
            if (lock(fd, F_OFD_GETLK, F_RDLCK, 0, &writer) || writer == F_UNLCK) return fail("its writer is gone");
            if (waited_ms++ >= PATIENCE_MS) return fail("no picture came");
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
            continue;
        }
        const off_t byte = HEADER + (off_t)at * SLOT_HEADER;
        if (lock(fd, F_OFD_SETLK, F_RDLCK, byte, NULL)) continue; /* being written: there is a newer one soon */
        if (heads[at].sequence == newest) { /* only under the lock does this say anything */
            const uint8_t *picture = map + first + at * stride;
            printf("%llu %lld %lld %08x\n", (unsigned long long)newest, (long long)heads[at].captured_ns,
                   (long long)heads[at].pts_ns, adler32_of(picture, frame));
            fflush(stdout);
            seen = newest, left--, waited_ms = 0;
        }
        lock(fd, F_OFD_SETLK, F_UNLCK, byte, NULL); /* until here nobody writes to it */
    }
    return 0;
}
