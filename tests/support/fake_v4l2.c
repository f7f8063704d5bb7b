/* A fake kernel boundary: cameras behind /dev/videoN for a process that is started with this library in LD_PRELOAD.
 *
 * Calls on paths and descriptors of fake cameras are answered here, all others by the C library. What the cameras are
 * and do is in one file that the test maps too (FAKE_V4L2_STATE; the layout is that of tests/support/v4l2.py).
 * /sys/class/video4linux and /sys/devices/fake are looked for under FAKE_V4L2_SYSFS.
 *
 * Camera kind 0 is like a UVC webcam: MJPG and YUYV, controls. Kind 1 is a bare sensor: GREY, Y10, Y12, RGGB, padded
 * rows, with the multi-planar interface when `mplane` is set. Each has a node for pictures, and kind 0 a second one for metadata. Pictures hold their sequence number.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CAMERAS 2
#define HANDLES 32
#define BUFFERS 8
#define CONTROLS 8
#define STAMPS 1024
#define JPEG_BYTES (1 << 20)
#define PAD 16 /* bytes behind each row of camera 1 */

struct camera {
    /* set by the test */
    uint32_t node, metadata_node, plugged, generation, busy, denied, silent, no_stamps, mplane;
    uint32_t damage, skip, cut; /* so many of the next pictures */
    uint32_t refused_control;   /* id whose setting the camera refuses */
    uint32_t hanging;           /* nothing that is asked of it returns */
    uint32_t jpeg_bytes;
    /* set here */
    uint32_t streaming, opens, streamons, format, width, height, sequence, set_count;
    int32_t values[CONTROLS];
    uint64_t stamps_us[STAMPS]; /* CLOCK_MONOTONIC, by sequence */
    uint8_t jpeg[JPEG_BYTES];
};

struct handle {
    int fd, memory;
    struct camera *camera;
    int kind, metadata;
    uint32_t generation, streaming, count, sequence;
    uint32_t bytes_per_line, size;
    uint64_t due_us, interval_us;
    uint32_t length;
    uint8_t *data;
    struct v4l2_buffer done[BUFFERS];
    int queued[BUFFERS], queued_count, done_count;
};

static struct camera *cameras;
static struct handle handles[HANDLES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *sysfs;

#define REAL(result, name, ...) \
    static result (*real_##name)(__VA_ARGS__); \
    if (!real_##name) *(void **)&real_##name = dlsym(RTLD_NEXT, #name)

static int real_close_fd(int fd) {
    REAL(int, close, int);
    return real_close(fd);
}

static void setup(void) {
    static int tried;
    if (tried) return;
    tried = 1;
    const char *path = getenv("FAKE_V4L2_STATE");
    sysfs = getenv("FAKE_V4L2_SYSFS");
    REAL(int, open64, const char *, int, ...);
    int fd = path ? real_open64(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *mapped = mmap(NULL, CAMERAS * sizeof(struct camera), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    real_close_fd(fd);
    if (mapped != MAP_FAILED) cameras = mapped;
}

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000ULL + now.tv_nsec / 1000;
}

/* -- paths ------------------------------------------------------------------------------------------------- */

static int is_video(const char *path) { return path && !strncmp(path, "/dev/video", 10) && path[10] >= '0'; }

static struct camera *camera_at(const char *path, int *metadata) {
    setup();
    uint32_t node = strtoul(path + 10, NULL, 10);
    for (int i = 0; cameras && i < CAMERAS; i++) {
        if (!cameras[i].plugged) continue;
        if (cameras[i].node == node) return *metadata = 0, &cameras[i];
        if (cameras[i].metadata_node == node) return *metadata = 1, &cameras[i];
    }
    return NULL;
}

static const char *redirected(const char *path, char *room) {
    static const char *const prefixes[] = {"/sys/class/video4linux", "/sys/devices/fake"};
    if (!path || strncmp(path, "/sys/", 5)) return path;
    setup();
    for (int i = 0; sysfs && i < 2; i++)
        if (!strncmp(path, prefixes[i], strlen(prefixes[i]))) {
            snprintf(room, PATH_MAX, "%s%s", sysfs, path + 4);
            return room;
        }
    return path;
}

static int open_camera(const char *path) {
    int metadata;
    struct camera *camera = camera_at(path, &metadata);
    if (!camera) return errno = ENOENT, -1;
    if (camera->denied) return errno = EACCES, -1;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < HANDLES; i++)
        if (!handles[i].camera) {
            memset(&handles[i], 0, sizeof handles[i]);
            handles[i].fd = eventfd(0, EFD_CLOEXEC);
            handles[i].memory = -1;
            handles[i].camera = camera;
            handles[i].kind = camera - cameras;
            handles[i].metadata = metadata;
            handles[i].generation = camera->generation;
            __atomic_add_fetch(&camera->opens, 1, __ATOMIC_SEQ_CST);
            pthread_mutex_unlock(&lock);
            return handles[i].fd;
        }
    pthread_mutex_unlock(&lock);
    return errno = EMFILE, -1;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list list; \
        va_start(list, flags); \
        int mode = va_arg(list, int); \
        va_end(list); \
        if (is_video(path)) return open_camera(path); \
        char room[PATH_MAX]; \
        REAL(int, name, const char *, int, ...); \
        return real_##name(redirected(path, room), flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define STAT(name, type) \
    int name(const char *path, struct type *info) { \
        int metadata; \
        if (is_video(path)) { \
            if (!camera_at(path, &metadata)) return errno = ENOENT, -1; \
            memset(info, 0, sizeof *info); \
            info->st_mode = S_IFCHR | 0660; \
            return 0; \
        } \
        char room[PATH_MAX]; \
        REAL(int, name, const char *, struct type *); \
        return real_##name(redirected(path, room), info); \
    }
STAT(stat, stat)
STAT(stat64, stat64)
STAT(lstat, stat)
STAT(lstat64, stat64)

ssize_t readlink(const char *path, char *buffer, size_t size) {
    char room[PATH_MAX];
    REAL(ssize_t, readlink, const char *, char *, size_t);
    return real_readlink(redirected(path, room), buffer, size);
}

DIR *opendir(const char *path) {
    char room[PATH_MAX];
    REAL(DIR *, opendir, const char *);
    return real_opendir(redirected(path, room));
}

/* -- pictures ---------------------------------------------------------------------------------------------- */

static struct handle *handle_of(int fd) {
    if (fd < 0 || !cameras) return NULL;
    for (int i = 0; i < HANDLES; i++)
        if (handles[i].camera && handles[i].fd == fd) return &handles[i];
    return NULL;
}

static int gone(struct handle *handle) {
    return !handle->camera->plugged || handle->camera->generation != handle->generation;
}

static uint32_t draw(struct handle *handle, uint8_t *data, uint32_t sequence) {
    struct camera *camera = handle->camera;
    uint32_t mask = camera->format == V4L2_PIX_FMT_Y10 ? 1023 : camera->format == V4L2_PIX_FMT_Y12 ? 4095 : 255;
    if (camera->format == V4L2_PIX_FMT_MJPEG) {
        memcpy(data, camera->jpeg, camera->jpeg_bytes);
        return camera->jpeg_bytes;
    }
    for (uint32_t y = 0; y < camera->height; y++) {
        uint8_t *row = data + y * handle->bytes_per_line;
        memset(row, 0xEE, handle->bytes_per_line);
        for (uint32_t x = 0; x < camera->width; x++) {
            uint32_t value = (x + 3 * y + 5 * sequence) & mask;
            if (camera->format == V4L2_PIX_FMT_YUYV) {
                row[2 * x] = 16 + value % 220;
                row[2 * x + 1] = x & 1 ? 128 : 64 + (sequence & 127);
            } else if (mask > 255)
                ((uint16_t *)row)[x] = value;
            else
                row[x] = value;
        }
    }
    return camera->height * handle->bytes_per_line;
}

/* Take the pictures that are due by now. */
static void advance(struct handle *handle) {
    struct camera *camera = handle->camera;
    while (handle->streaming && now_us() >= handle->due_us) {
        uint64_t stamp_us = handle->due_us;
        handle->due_us += handle->interval_us;
        if (camera->silent) continue;
        uint32_t sequence = handle->sequence++;
        if (camera->skip) {
            camera->skip--;
            continue;
        }
        if (!handle->queued_count) continue; /* nobody gave a buffer back: lost, as with a real driver */
        int index = handle->queued[0];
        memmove(handle->queued, handle->queued + 1, --handle->queued_count * sizeof(int));
        struct v4l2_buffer *done = &handle->done[handle->done_count++];
        memset(done, 0, sizeof *done);
        done->index = index;
        done->bytesused = draw(handle, handle->data + index * handle->length, sequence);
        done->sequence = sequence;
        done->timestamp.tv_sec = stamp_us / 1000000;
        done->timestamp.tv_usec = stamp_us % 1000000;
        if (!camera->no_stamps) done->flags |= V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
        if (camera->damage) {
            camera->damage--;
            done->flags |= V4L2_BUF_FLAG_ERROR;
        }
        if (camera->cut) {
            camera->cut--;
            done->bytesused /= 2;
        }
        camera->stamps_us[sequence % STAMPS] = stamp_us;
        camera->sequence = sequence;
    }
}

static void stop_streaming(struct handle *handle) {
    if (handle->streaming) handle->camera->streaming = 0;
    handle->streaming = handle->queued_count = handle->done_count = 0;
}

/* -- ioctls ------------------------------------------------------------------------------------------------ */

static const struct mode { uint32_t kind, format, width, height, rates[3]; } modes[] = {
    {0, V4L2_PIX_FMT_MJPEG, 640, 480, {30, 15}},     {0, V4L2_PIX_FMT_MJPEG, 1280, 720, {30}},
    {0, V4L2_PIX_FMT_MJPEG, 1920, 1080, {30}},       {0, V4L2_PIX_FMT_YUYV, 640, 480, {30, 15}},
    {0, V4L2_PIX_FMT_YUYV, 1280, 720, {10}},         {1, V4L2_PIX_FMT_GREY, 648, 486, {60, 30}},
    {1, V4L2_PIX_FMT_Y10, 648, 486, {30}},           {1, V4L2_PIX_FMT_Y12, 648, 486, {30}},
    {1, V4L2_PIX_FMT_SRGGB8, 648, 486, {30}},
};
#define MODES (sizeof modes / sizeof *modes)

static const struct mode *mode_of(int kind, uint32_t format, uint32_t width, uint32_t height) {
    for (unsigned i = 0; i < MODES; i++)
        if ((int)modes[i].kind == kind && modes[i].format == format && modes[i].width == width &&
            modes[i].height == height)
            return &modes[i];
    return NULL;
}

#define COMPOUND 0x00a00000u
static const struct { uint32_t id, type; const char *name; int64_t min, max, step, def; uint32_t flags; } controls[] = {
    {V4L2_CID_BRIGHTNESS, V4L2_CTRL_TYPE_INTEGER, "Brightness", -64, 64, 1, 0, 0},
    {V4L2_CID_AUTO_WHITE_BALANCE, V4L2_CTRL_TYPE_BOOLEAN, "White Balance, Automatic", 0, 1, 1, 1, 0},
    {V4L2_CID_DO_WHITE_BALANCE, V4L2_CTRL_TYPE_BUTTON, "Do White Balance", 0, 0, 0, 0, V4L2_CTRL_FLAG_WRITE_ONLY},
    {V4L2_CID_EXPOSURE_AUTO, V4L2_CTRL_TYPE_MENU, "Auto Exposure", 0, 3, 1, 3, 0},
    {V4L2_CID_EXPOSURE_ABSOLUTE, V4L2_CTRL_TYPE_INTEGER, "Exposure Time, Absolute", 3, 2047, 2, 251, 0},
    {V4L2_CID_PRIVACY, V4L2_CTRL_TYPE_BOOLEAN, "Privacy", 0, 1, 1, 0, V4L2_CTRL_FLAG_READ_ONLY},
    {0x009a0902 | COMPOUND, 0x0200, "Some Matrix", 0, 0, 0, 0, 0},
};
static const char *const exposure_menu[] = {NULL, "Manual Mode", NULL, "Aperture Priority Mode"};

static int control_index(uint32_t id) {
    for (int i = 0; i < 6; i++)
        if (controls[i].id == id) return i;
    return -1;
}

static int query_control(struct handle *handle, struct v4l2_query_ext_ctrl *query) {
    uint32_t after = query->id & ~(V4L2_CTRL_FLAG_NEXT_CTRL | V4L2_CTRL_FLAG_NEXT_COMPOUND);
    int found = -1;
    if (handle->kind != 0) return errno = ENOTTY, -1;
    for (int i = 0; i < 6; i++) {
        int candidate = query->id & V4L2_CTRL_FLAG_NEXT_CTRL ? controls[i].id > after : controls[i].id == after;
        if (candidate && (found < 0 || controls[i].id < controls[found].id)) found = i;
    }
    if (found < 0) return errno = EINVAL, -1;
    memset(query, 0, sizeof *query);
    query->id = controls[found].id;
    query->type = controls[found].type;
    strcpy(query->name, controls[found].name);
    query->minimum = controls[found].min;
    query->maximum = controls[found].max;
    query->step = controls[found].step;
    query->default_value = controls[found].def;
    query->flags = controls[found].flags;
    query->elem_size = 4;
    query->elems = 1;
    return 0;
}

static int set_control(struct handle *handle, struct v4l2_ext_control *control) {
    struct camera *camera = handle->camera;
    int index = control_index(control->id);
    if (index < 0) return errno = EINVAL, -1;
    if (controls[index].flags & V4L2_CTRL_FLAG_READ_ONLY) return errno = EACCES, -1;
    /* As UVC does it: the time can be set in manual mode only. */
    if (control->id == V4L2_CID_EXPOSURE_ABSOLUTE && camera->values[control_index(V4L2_CID_EXPOSURE_AUTO)] != 1)
        return errno = EACCES, -1;
    if (camera->refused_control == control->id) return errno = EIO, -1;
    if (controls[index].type == V4L2_CTRL_TYPE_BUTTON)
        camera->values[index]++;
    else if (control->value < controls[index].min || control->value > controls[index].max)
        return errno = ERANGE, -1;
    else
        camera->values[index] = control->value;
    camera->set_count++;
    return 0;
}

static int set_format(struct handle *handle, struct v4l2_pix_format *pix) {
    struct camera *camera = handle->camera;
    const struct mode *mode = mode_of(handle->kind, pix->pixelformat, pix->width, pix->height);
    if (camera->busy || camera->streaming) return errno = EBUSY, -1;
    if (!mode) mode = &modes[handle->kind ? 5 : 0];
    camera->format = pix->pixelformat = mode->format;
    camera->width = pix->width = mode->width;
    camera->height = pix->height = mode->height;
    uint32_t sample_bytes = mode->format == V4L2_PIX_FMT_GREY || mode->format == V4L2_PIX_FMT_SRGGB8 ? 1 : 2;
    int compressed = mode->format == V4L2_PIX_FMT_MJPEG;
    handle->bytes_per_line = compressed ? 0 : mode->width * sample_bytes + (handle->kind ? PAD : 0);
    handle->size = compressed ? JPEG_BYTES : handle->bytes_per_line * mode->height;
    handle->interval_us = 1000000 / mode->rates[0];
    pix->bytesperline = handle->bytes_per_line;
    pix->sizeimage = handle->size;
    pix->field = V4L2_FIELD_NONE;
    return 0;
}

static int request_buffers(struct handle *handle, struct v4l2_requestbuffers *request) {
    if (handle->camera->streaming && !handle->streaming) return errno = EBUSY, -1;
    if (handle->data) munmap(handle->data, (size_t)handle->length * handle->count);
    if (handle->memory >= 0) real_close_fd(handle->memory);
    handle->memory = -1;
    handle->data = NULL;
    if (request->count > BUFFERS) request->count = BUFFERS;
    handle->count = request->count;
    if (!handle->count) return 0;
    handle->length = (handle->size + 4095) & ~4095u;
    handle->memory = memfd_create("fake camera", MFD_CLOEXEC);
    if (ftruncate(handle->memory, (off_t)handle->length * handle->count)) return -1;
    handle->data = mmap(NULL, (size_t)handle->length * handle->count, PROT_READ | PROT_WRITE, MAP_SHARED,
                        handle->memory, 0);
    return handle->data == MAP_FAILED ? -1 : 0;
}

static int take_buffer(struct handle *handle, struct v4l2_buffer *buffer) {
    if (!handle->streaming) return errno = EINVAL, -1;
    advance(handle);
    if (!handle->done_count) return errno = EAGAIN, -1;
    struct v4l2_buffer *done = &handle->done[0];
    buffer->index = done->index;
    if (handle->camera->mplane) buffer->m.planes->bytesused = done->bytesused;
    else buffer->bytesused = done->bytesused;
    buffer->sequence = done->sequence;
    buffer->timestamp = done->timestamp;
    buffer->flags = done->flags;
    if (!handle->camera->mplane) buffer->length = handle->length;
    memmove(handle->done, handle->done + 1, --handle->done_count * sizeof *done);
    return 0;
}

static int list_entry(struct handle *handle, unsigned long request, void *argument) {
    uint32_t seen[MODES], count = 0;
    if (request == VIDIOC_ENUM_FMT) {
        struct v4l2_fmtdesc *entry = argument;
        for (unsigned i = 0; i < MODES; i++) {
            int again = 0;
            for (uint32_t j = 0; j < count; j++) again |= seen[j] == modes[i].format;
            if ((int)modes[i].kind == handle->kind && !again) seen[count++] = modes[i].format;
        }
        if (entry->index >= count) return errno = EINVAL, -1;
        entry->pixelformat = seen[entry->index];
        return 0;
    }
    if (request == VIDIOC_ENUM_FRAMESIZES) {
        struct v4l2_frmsizeenum *entry = argument;
        for (unsigned i = 0; i < MODES; i++)
            if ((int)modes[i].kind == handle->kind && modes[i].format == entry->pixel_format && count++ == entry->index) {
                entry->type = V4L2_FRMSIZE_TYPE_DISCRETE;
                entry->discrete.width = modes[i].width;
                entry->discrete.height = modes[i].height;
                return 0;
            }
        return errno = EINVAL, -1;
    }
    struct v4l2_frmivalenum *entry = argument;
    const struct mode *mode = mode_of(handle->kind, entry->pixel_format, entry->width, entry->height);
    if (!mode || entry->index >= 3 || !mode->rates[entry->index]) return errno = EINVAL, -1;
    entry->type = V4L2_FRMIVAL_TYPE_DISCRETE;
    entry->discrete.numerator = 1;
    entry->discrete.denominator = mode->rates[entry->index];
    return 0;
}

/* Whether a request is for the other form of the interface, single- or multi-planar. */
static int wrong_type(struct camera *camera, unsigned long request, void *argument) {
    uint32_t type, right = camera->mplane ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE : V4L2_BUF_TYPE_VIDEO_CAPTURE;
    switch (request) {
    case VIDIOC_ENUM_FMT: type = ((struct v4l2_fmtdesc *)argument)->type; break;
    case VIDIOC_S_FMT: type = ((struct v4l2_format *)argument)->type; break;
    case VIDIOC_S_PARM: type = ((struct v4l2_streamparm *)argument)->type; break;
    case VIDIOC_REQBUFS: type = ((struct v4l2_requestbuffers *)argument)->type; break;
    case VIDIOC_QUERYBUF: case VIDIOC_QBUF: case VIDIOC_DQBUF: {
        struct v4l2_buffer *buffer = argument;
        if (camera->mplane && (buffer->length != 1 || !buffer->m.planes)) return 1;
        type = buffer->type;
        break;
    }
    case VIDIOC_STREAMON: case VIDIOC_STREAMOFF: type = *(int *)argument; break;
    default: return 0;
    }
    return type != right;
}

static int answer(struct handle *handle, unsigned long request, void *argument) {
    struct camera *camera = handle->camera;
    if (gone(handle)) return errno = ENODEV, -1;
    if (request == VIDIOC_QUERYCAP) {
        struct v4l2_capability *cap = argument;
        memset(cap, 0, sizeof *cap);
        strcpy((char *)cap->driver, "fake");
        strcpy((char *)cap->card, handle->kind ? "Bare Sensor" : "Web\tCamera");
        strcpy((char *)cap->bus_info, "usb-0000:00:14.0-1");
        cap->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_META_CAPTURE | V4L2_CAP_STREAMING | V4L2_CAP_DEVICE_CAPS;
        cap->device_caps = V4L2_CAP_STREAMING | (handle->metadata  ? V4L2_CAP_META_CAPTURE
                                                 : camera->mplane ? V4L2_CAP_VIDEO_CAPTURE_MPLANE
                                                                  : V4L2_CAP_VIDEO_CAPTURE);
        return 0;
    }
    if (handle->metadata || wrong_type(camera, request, argument)) return errno = EINVAL, -1;
    switch (request) {
    case VIDIOC_ENUM_FMT: case VIDIOC_ENUM_FRAMESIZES: case VIDIOC_ENUM_FRAMEINTERVALS:
        return list_entry(handle, request, argument);
    case VIDIOC_S_FMT: {
        struct v4l2_format *format = argument;
        if (!camera->mplane) return set_format(handle, &format->fmt.pix);
        struct v4l2_pix_format_mplane *planes = &format->fmt.pix_mp;
        struct v4l2_pix_format pix = {planes->width, planes->height, planes->pixelformat};
        if (set_format(handle, &pix)) return -1;
        planes->width = pix.width;
        planes->height = pix.height;
        planes->pixelformat = pix.pixelformat;
        planes->num_planes = 1;
        planes->plane_fmt[0].bytesperline = pix.bytesperline;
        planes->plane_fmt[0].sizeimage = pix.sizeimage;
        return 0;
    }
    case VIDIOC_S_PARM: {
        struct v4l2_captureparm *parm = &((struct v4l2_streamparm *)argument)->parm.capture;
        parm->capability = V4L2_CAP_TIMEPERFRAME;
        handle->interval_us = 1000000ULL * parm->timeperframe.numerator / parm->timeperframe.denominator;
        return 0;
    }
    case VIDIOC_REQBUFS:
        return request_buffers(handle, argument);
    case VIDIOC_QUERYBUF: {
        struct v4l2_buffer *buffer = argument;
        if (buffer->index >= handle->count) return errno = EINVAL, -1;
        if (camera->mplane) {
            buffer->m.planes->length = handle->length;
            buffer->m.planes->m.mem_offset = buffer->index * handle->length;
            return 0;
        }
        buffer->length = handle->length;
        buffer->m.offset = buffer->index * handle->length;
        return 0;
    }
    case VIDIOC_QBUF:
        if (((struct v4l2_buffer *)argument)->index >= handle->count || handle->queued_count >= BUFFERS)
            return errno = EINVAL, -1;
        advance(handle);
        handle->queued[handle->queued_count++] = ((struct v4l2_buffer *)argument)->index;
        return 0;
    case VIDIOC_DQBUF:
        return take_buffer(handle, argument);
    case VIDIOC_STREAMON:
        if (camera->streaming) return errno = EBUSY, -1;
        camera->streaming = handle->streaming = 1;
        camera->streamons++;
        handle->sequence = 0;
        handle->due_us = now_us() + handle->interval_us;
        return 0;
    case VIDIOC_STREAMOFF:
        stop_streaming(handle);
        return 0;
    case VIDIOC_QUERY_EXT_CTRL:
        return query_control(handle, argument);
    case VIDIOC_QUERYMENU: {
        struct v4l2_querymenu *item = argument;
        if (item->id != V4L2_CID_EXPOSURE_AUTO || item->index > 3 || !exposure_menu[item->index])
            return errno = EINVAL, -1;
        strcpy((char *)item->name, exposure_menu[item->index]);
        return 0;
    }
    case VIDIOC_G_EXT_CTRLS: {
        struct v4l2_ext_control *control = ((struct v4l2_ext_controls *)argument)->controls;
        int index = control_index(control->id);
        if (index < 0 || controls[index].flags & V4L2_CTRL_FLAG_WRITE_ONLY) return errno = EACCES, -1;
        control->value = camera->values[index];
        return 0;
    }
    case VIDIOC_S_EXT_CTRLS:
        return set_control(handle, ((struct v4l2_ext_controls *)argument)->controls);
    }
    return errno = ENOTTY, -1;
}

int ioctl(int fd, unsigned long request, ...) {
    va_list list;
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    pthread_mutex_lock(&lock);
    struct handle *handle = handle_of(fd);
    while (handle && handle->camera->hanging) { /* the others go on */
        pthread_mutex_unlock(&lock);
        usleep(1000);
        pthread_mutex_lock(&lock);
        handle = handle_of(fd);
    }
    if (handle) {
        int result = answer(handle, (uint32_t)request, argument);
        int error = errno;
        pthread_mutex_unlock(&lock);
        return errno = error, result;
    }
    pthread_mutex_unlock(&lock);
    REAL(int, ioctl, int, unsigned long, ...);
    return real_ioctl(fd, request, argument);
}

/* -- descriptors ------------------------------------------------------------------------------------------- */

int close(int fd) {
    pthread_mutex_lock(&lock);
    struct handle *handle = handle_of(fd);
    if (handle) {
        stop_streaming(handle);
        if (handle->data) munmap(handle->data, (size_t)handle->length * handle->count);
        if (handle->memory >= 0) real_close_fd(handle->memory);
        __atomic_sub_fetch(&handle->camera->opens, 1, __ATOMIC_SEQ_CST);
        handle->camera = NULL;
    }
    pthread_mutex_unlock(&lock);
    return real_close_fd(fd);
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset) {
    REAL(void *, mmap64, void *, size_t, int, int, int, off64_t);
    struct handle *handle = handle_of(fd);
    return real_mmap64(address, length, protection, flags, handle ? handle->memory : fd, offset);
}

int poll(struct pollfd *fds, nfds_t count, int timeout_ms) {
    REAL(int, poll, struct pollfd *, nfds_t, int);
    if (count != 1 || !handle_of(fds->fd)) return real_poll(fds, count, timeout_ms);
    uint64_t until_us = timeout_ms < 0 ? UINT64_MAX : now_us() + timeout_ms * 1000ULL;
    for (;;) {
        pthread_mutex_lock(&lock);
        struct handle *handle = handle_of(fds->fd);
        fds->revents = 0;
        if (!handle) fds->revents = POLLNVAL;
        else if (gone(handle)) fds->revents = POLLERR | POLLHUP;
        else if (!handle->streaming) fds->revents = POLLERR;
        else {
            advance(handle);
            if (handle->done_count) fds->revents = POLLIN;
        }
        pthread_mutex_unlock(&lock);
        if (fds->revents) return 1;
        if (now_us() >= until_us) return 0;
        usleep(1000);
    }
}
