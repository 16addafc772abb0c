/* SPDX-License-Identifier: Apache-2.0 */
/* What is found in files: one JSON line a file. Usage: locate_python FILE ... */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "runtime/python/attach.h"
#include "runtime/python/locate.h"

static void show_offsets(const struct py_offsets *o)
{
	const struct py_layout *l = &o->layout;
	const struct {
		const char *name;
		uint32_t value;
	} rows[] = {
		{"runtime.interp_head", o->runtime_interp_head},
		{"runtime.tstate_current", o->runtime_tstate_current},
		{"runtime.key", o->runtime_key},
		{"interp.next", o->interp_next},
		{"interp.id", o->interp_id},
		{"interp.tstate_head", o->interp_tstate_head},
		{"tstate.next", o->tstate_next},
		{"tstate.interp", l->tstate_interp},
		{"tstate.frame", l->tstate_frame},
		{"tstate.thread_id", l->tstate_thread_id},
		{"tstate.native_tid", l->tstate_native_tid},
		{"cframe.current", l->cframe_current},
		{"frame.back", l->frame_back},
		{"frame.code", l->frame_code},
		{"frame.lasti", l->frame_lasti},
		{"frame.entry", l->frame_entry},
		{"code.argcount", l->code_argcount},
		{"code.kwonly", l->code_kwonlyargcount},
		{"code.flags", l->code_flags},
		{"code.firstlineno", l->code_firstlineno},
		{"code.adaptive", l->code_adaptive},
		{"code.filename", o->code_filename},
		{"code.name", o->code_name},
		{"code.qualname", o->code_qualname},
		{"code.lines", o->code_lines},
		{"bytes.data", o->bytes_data},
		{"ascii.size", o->ascii_size},
		{"compact.size", o->compact_size},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		printf("%s\"%s\": %u", i ? ", " : "", rows[i].name, rows[i].value);
}

static void show(const struct py_module *py)
{
	printf("{\"hex\": %u, \"refused\": %d, \"runtime\": %lu, \"interp_head\": %lu, "
	       "\"current\": %lu, \"key\": %lu, \"none\": %lu, \"tls\": [%u, %lu, %ld], \"eval\": [",
		py->hex, py->refused, py->runtime, py->interp_head, py->current, py->key, py->none,
		py->tls_kind, py->tls_addr, py->tls_off);
	for (unsigned i = 0; i < py->nranges; i++)
		printf("%s[%lu, %lu]", i ? ", " : "", py->eval[i].start, py->eval[i].end);
	printf("], \"offsets\": {");
	show_offsets(&py->offsets);
	puts("}}");
}

static int locate(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r;
	struct py_module py;
	struct py_slot slot;
	struct module *m;

	if (fd < 0)
		return -errno;
	r = module_standalone_fd(fd, &m);
	if (r)
		return r;
	r = py_locate(m, path, &py);
	if (r == 0)
		show(&py);
	else if (r == -ENOENT && py_slot_locate(m, &slot) == 0)
		printf("{\"slot\": [%u, %d, %u]}\n", slot.by, slot.offset, slot.stride);
	else if (r == -ENOENT)
		puts("{}");
	module_standalone_free(m);
	return r == -ENOENT ? 0 : r;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		int r = locate(argv[i]);

		if (r) {
			fprintf(stderr, "%s: %s\n", argv[i], strerror(-r));
			return 1;
		}
	}
	return 0;
}
