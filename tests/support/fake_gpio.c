/* A fake kernel boundary: a GPIO chip at /dev/gpiochip0 for a process that is started with this library in LD_PRELOAD.
 *
 * Calls on the chip and its lines are answered here, all others by the C library: libgpiod and all above it are real.
 * The chip's pins are one file that the test maps too (FAKE_GPIO_STATE; the layout is that of tests/support/gpio.py).
 * Who has a line holds a lock on its byte of that file, which the kernel drops with the process, as it drops lines.
 * Edges of inputs are what the test writes into pipes beside it, as struct gpio_v2_line_event.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/gpio.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define LINES 8
#define HANDLES 256
#define CHIP "/dev/gpiochip0"
#define SUBSYSTEM "/sys/dev/char/254:0/subsystem"

struct line {
    uint64_t flags;
    uint64_t changed_ns; /* CLOCK_REALTIME */
    uint32_t pin;        /* its level, whoever drives it */
    uint32_t changes;
    char consumer[GPIO_MAX_NAME_SIZE];
};

struct chip {
    uint32_t plugged, unused;
    struct line line[LINES];
};

static struct chip *chip;
static int is_chip[HANDLES], line_of[HANDLES], lock_of[HANDLES]; /* by descriptor; line + 1 */

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static struct chip *state(void) {
    if (!chip) {
        const char *path = getenv("FAKE_GPIO_STATE");
        int fd = path ? REAL(open)(path, O_RDWR | O_CLOEXEC) : -1;
        if (fd >= 0) {
            void *mapped = mmap(NULL, sizeof *chip, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            if (mapped != MAP_FAILED) chip = mapped;
            REAL(close)(fd);
        }
    }
    return chip;
}

static void drive(struct line *line, int on) {
    uint32_t pin = !!on ^ !!(line->flags & GPIO_V2_LINE_FLAG_ACTIVE_LOW);
    struct timespec now;
    if (pin == line->pin) return;
    clock_gettime(CLOCK_REALTIME, &now);
    line->changed_ns = now.tv_sec * 1000000000ull + now.tv_nsec;
    line->pin = pin;
    line->changes++;
}

static void configure(struct line *line, const struct gpio_v2_line_config *config) {
    uint64_t direction = GPIO_V2_LINE_FLAG_INPUT | GPIO_V2_LINE_FLAG_OUTPUT;
    line->flags = config->flags & direction ? config->flags : (line->flags & direction) | config->flags;
    for (uint32_t i = 0; i < config->num_attrs; i++) /* one line: its bit is bit 0 */
        if (config->attrs[i].attr.id == GPIO_V2_LINE_ATTR_ID_FLAGS && config->attrs[i].mask & 1)
            line->flags = config->attrs[i].attr.flags;
    int on = 0;
    for (uint32_t i = 0; i < config->num_attrs; i++)
        if (config->attrs[i].attr.id == GPIO_V2_LINE_ATTR_ID_OUTPUT_VALUES) on = config->attrs[i].attr.values & 1;
    if (line->flags & GPIO_V2_LINE_FLAG_OUTPUT) drive(line, on);
}

static int request(struct gpio_v2_line_request *asked) {
    uint32_t number = asked->offsets[0];
    char path[4096];
    if (asked->num_lines != 1 || number >= LINES) return errno = EINVAL, -1;
    int lock = REAL(open)(getenv("FAKE_GPIO_STATE"), O_RDWR | O_CLOEXEC);
    struct flock whole = {.l_type = F_WRLCK, .l_start = number, .l_len = 1};
    if (lock < 0 || fcntl(lock, F_OFD_SETLK, &whole)) return REAL(close)(lock), errno = EBUSY, -1;
    snprintf(path, sizeof path, "%s.%u", getenv("FAKE_GPIO_STATE"), number);
    int fd = REAL(open)(path, O_RDWR | O_CLOEXEC); /* both ends: it never ends */
    if (fd < 0 || fd >= HANDLES) return REAL(close)(lock), errno = EMFILE, -1;
    struct line *line = &chip->line[number];
    memcpy(line->consumer, asked->consumer, sizeof line->consumer);
    configure(line, &asked->config);
    line_of[fd] = number + 1;
    lock_of[fd] = lock;
    asked->fd = fd;
    return 0;
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    va_end(rest);
    if (strcmp(path, CHIP) || !state()) return REAL(open)(path, flags, mode);
    if (!chip->plugged) return errno = ENOENT, -1;
    int fd = REAL(open)("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd >= 0 && fd < HANDLES) is_chip[fd] = 1;
    return fd;
}

int close(int fd) {
    if (fd >= 0 && fd < HANDLES) {
        if (line_of[fd]) REAL(close)(lock_of[fd]);
        is_chip[fd] = line_of[fd] = 0;
    }
    return REAL(close)(fd);
}

int ioctl(int fd, unsigned long what, ...) {
    va_list rest;
    va_start(rest, what);
    what &= 0xffffffff; /* some pass it as an int */
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (fd < 0 || fd >= HANDLES || !(is_chip[fd] || line_of[fd])) return REAL(ioctl)(fd, what, argument);
    if (!chip->plugged) return errno = ENODEV, -1;
    if (is_chip[fd]) {
        if (what == GPIO_V2_GET_LINE_IOCTL) return request(argument);
        if (what == GPIO_V2_GET_LINEINFO_IOCTL) return 0; /* it has no name */
        if (what != GPIO_GET_CHIPINFO_IOCTL) return fprintf(stderr, "fake_gpio: %#lx\n", what), errno = ENOTTY, -1;
        *(struct gpiochip_info *)argument = (struct gpiochip_info){"gpiochip0", "fake", LINES};
        return 0;
    }
    struct line *line = &chip->line[line_of[fd] - 1];
    struct gpio_v2_line_values *values = argument;
    switch (what) {
    case GPIO_V2_LINE_SET_VALUES_IOCTL:
        if (!(line->flags & GPIO_V2_LINE_FLAG_OUTPUT)) return errno = EPERM, -1;
        if (values->mask & 1) drive(line, values->bits & 1);
        return 0;
    case GPIO_V2_LINE_GET_VALUES_IOCTL:
        values->bits = line->pin ^ !!(line->flags & GPIO_V2_LINE_FLAG_ACTIVE_LOW);
        return 0;
    case GPIO_V2_LINE_SET_CONFIG_IOCTL:
        configure(line, argument);
        return 0;
    }
    return errno = ENOTTY, -1;
}

static int told(const char *path, struct stat *found) {
    if (strcmp(path, CHIP) || !state()) return 1;
    if (!chip->plugged) return errno = ENOENT, -1;
    memset(found, 0, sizeof *found);
    found->st_mode = S_IFCHR | 0660;
    found->st_rdev = makedev(254, 0);
    return 0;
}

int lstat(const char *path, struct stat *found) {
    int result = told(path, found);
    return result == 1 ? REAL(lstat)(path, found) : result;
}

/* What programs were linked against before glibc 2.33. */
int __lxstat(int version, const char *path, struct stat *found) {
    int (*real)(int, const char *, struct stat *) = dlsym(RTLD_NEXT, "__lxstat");
    int result = told(path, found);
    return result == 1 ? real(version, path, found) : result;
}

int __xstat(int version, const char *path, struct stat *found) {
    int (*real)(int, const char *, struct stat *) = dlsym(RTLD_NEXT, "__xstat");
    int result = told(path, found);
    return result == 1 ? real(version, path, found) : result;
}

char *realpath(const char *path, char *resolved) {
    if (strcmp(path, SUBSYSTEM) || !state()) return REAL(realpath)(path, resolved);
    return resolved ? strcpy(resolved, "/sys/bus/gpio") : strdup("/sys/bus/gpio");
}
