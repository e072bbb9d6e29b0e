/* Everything that the shell says on standard error. */
#include "shell.h"

#include "bytes.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

void shell_ask(struct shell *shell, struct text *text)
{
    progress_clear();
    if (shell->out)
        output_flush(shell->out);
    ssize_t done = write(STDERR_FILENO, text_get(text), text->len);
    (void)done; /* there is nowhere left to say so */
    text_free(text);
}

static void put_stderr(struct shell *shell, struct text *text)
{
    text_char(text, '\n');
    shell_ask(shell, text);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

/* The image whose stack ends in this device. */
static const struct image *image_of(const struct shell *shell, const struct device *bottom)
{
    if (!shell->session)
        return NULL;
    for (const struct image *image = shell->session->images; image; image = image->next)
        for (const struct device *device = image->file; device; device = device->below)
            if (device == bottom)
                return image;
    return NULL;
}

static bool in_stack(const struct device *top, const struct device *device)
{
    while (top && top != device)
        top = top->below;
    return top != NULL;
}

/* A failed command may have closed the device that its error names: then it must not be looked at. */
static bool is_open(const struct shell *shell, const struct device *device)
{
    if (!shell->session)
        return false;
    for (const struct image *image = shell->session->images; image; image = image->next) {
        if (in_stack(image->file, device) || in_stack(image->disk, device))
            return true;
        for (size_t i = 0; i < image->companion_count; i++)
            if (in_stack(image->companions[i], device))
                return true;
        for (size_t i = 0; i < image->volume_count; i++)
            if (image->volumes[i]->device == device)
                return true;
    }
    return false;
}

/* Where in the image: in the layer that saw it, and in the host file. */
struct fault_place {
    const char *layer;
    uint64_t off;
    const char *file; /* NULL: not in a host file that is open */
    uint64_t file_off;
};

static bool find_place(const struct shell *shell, const struct error *err, struct fault_place *place)
{
    struct extent extent = {0};
    struct error ignored;
    bool open = err->device && is_open(shell, err->device);
    if (!open && !err->layer)
        return false;
    *place =
        (struct fault_place){.layer = err->layer ? err->layer : err->device->ops->name, .off = err->offset};
    if (!open)
        return true;
    struct device *device = (struct device *)(uintptr_t)err->device; /* mapping changes only its statistics */
    if (err->offset >= device->size || !device_map_to_bottom(device, err->offset, &extent, &ignored))
        return true;
    const struct image *image = image_of(shell, extent.device);
    if (image && !(extent.flags & (EXTENT_HOLE | EXTENT_COMPRESSED))) {
        place->file = base_name(image->path);
        place->file_off = extent.off;
        if (image_of(shell, device) == image) /* seen in the file itself: one place is enough */
            place->layer = NULL;
    }
    return true;
}

static void error_json(struct shell *shell, struct text *text, const char *command, const struct error *err)
{
    struct fault_place place;
    text_printf(text, "{\"error\":{\"kind\":\"%s\",\"message\":", error_kind_name(err->kind));
    text_json(text, err->message, strlen(err->message));
    if (command) {
        text_string(text, ",\"command\":");
        text_json(text, command, strlen(command));
    }
    if (shell->script) {
        text_string(text, ",\"script\":");
        text_json(text, shell->script, strlen(shell->script));
        text_printf(text, ",\"line\":%u", shell->line);
    }
    if (find_place(shell, err, &place)) {
        if (place.layer)
            text_printf(text, ",\"layer\":\"%s\",\"offset\":%" PRIu64, place.layer, place.off);
        if (place.file) {
            text_string(text, ",\"file\":");
            text_json(text, place.file, strlen(place.file));
            text_printf(text, ",\"file-offset\":%" PRIu64, place.file_off);
        }
    }
    text_string(text, "}}");
}

static void error_text(struct shell *shell, struct text *text, const char *command, const struct error *err)
{
    struct fault_place place;
    text_string(text, "dish: ");
    if (shell->script) {
        text_escaped(text, shell->script, strlen(shell->script));
        text_printf(text, ":%u: ", shell->line);
    }
    if (command) {
        text_escaped(text, command, strlen(command));
        text_string(text, ": ");
    }
    text_escaped(text, err->message, strlen(err->message));
    if (!find_place(shell, err, &place))
        return;
    text_string(text, " (");
    if (place.layer)
        text_printf(text, "%s at 0x%" PRIx64 "%s", place.layer, place.off, place.file ? ", " : "");
    if (place.file) {
        text_escaped(text, place.file, strlen(place.file));
        text_printf(text, " at 0x%" PRIx64, place.file_off);
    }
    text_char(text, ')');
}

void shell_report_error(struct shell *shell, const char *command, const struct error *err)
{
    struct text text = {0};
    if (!err->message[0])
        return;
    if (shell->options.json)
        error_json(shell, &text, command, err);
    else
        error_text(shell, &text, command, err);
    put_stderr(shell, &text);
}

void shell_report_syntax(struct shell *shell, const char *script, const struct syntax_error *bad)
{
    struct text text = {0};
    if (shell->options.json) {
        text_string(&text, "{\"error\":{\"kind\":\"syntax\",\"message\":");
        text_json(&text, bad->message, strlen(bad->message));
        if (script) {
            text_string(&text, ",\"script\":");
            text_json(&text, script, strlen(script));
        }
        text_printf(&text, ",\"line\":%u,\"column\":%u}}", bad->line, bad->column);
    } else {
        text_string(&text, "dish: ");
        if (script) {
            text_escaped(&text, script, strlen(script));
            text_printf(&text, ":%u:%u: ", bad->line, bad->column);
        }
        text_printf(&text, "%s\n", bad->message);
        for (const char *c = bad->text ? bad->text : ""; *c; c++)
            text_char(&text, (*c > 0 && *c < ' ' && *c != '\t') || *c == 0x7f ? '?' : *c);
        text_printf(&text, "\n%s^", bad->caret ? bad->caret : "");
    }
    put_stderr(shell, &text);
}

void shell_say(struct shell *shell, const char *fmt, ...)
{
    char message[1024];
    struct text text = {0};
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    if (shell->options.json) {
        text_string(&text, "{\"note\":");
        text_json(&text, message, strlen(message));
        text_char(&text, '}');
    } else {
        text_string(&text, "dish: ");
        text_escaped(&text, message, strlen(message));
    }
    put_stderr(shell, &text);
}

void shell_echo(struct shell *shell, const char *command)
{
    struct text text = {0};
    text_string(&text, "+ ");
    text_string(&text, command);
    put_stderr(shell, &text);
}
