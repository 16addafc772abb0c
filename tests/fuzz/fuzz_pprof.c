/* SPDX-License-Identifier: Apache-2.0 */
/* profile.proto: read, and what was read written in every streaming form. */
#include "tests/fuzz/fuzz.h"

#include "base/compress.h"
#include "export/export.h"
#include "export/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct text_complaints complaints = {.name = "fuzz", .quiet = true};
	const struct export_collapsed_options collapsed = {.line_numbers = true};
	struct import_stats stats;
	struct profile p;
	FILE *out = fopen("/dev/null", "w");

	profile_init(&p, 1000, 1 << 16);
	import_guess((const char *)data, len);
	if (import_pprof(data, len, &p, &complaints, &stats) == 0 && out) {
		if (export_collapsed(out, &p, &collapsed) || export_pprof(out, &p) ||
			export_speedscope(out, &p))
			abort();
	}
	if (out)
		fclose(out);
	profile_deinit(&p);
	return 0;
}

static int add_stack(struct profile *p, bool inlined)
{
	struct profile_context who = {.pid = 12, .tid = 13};
	struct profile_frame f = {.kind = PROFILE_FRAME_NATIVE, .address = 0x1000};
	const int64_t values[] = {3, 30000000};
	uint32_t context, node = 0, id;

	if (profile_string(p, "bash", &who.comm) || profile_context(p, &who, &context) ||
		profile_string(p, "/bin/bash", &f.module) ||
		profile_string(p, "ab12", &f.build_id) || profile_string(p, "a.c", &f.file))
		return -1;
	for (unsigned i = 0; i < 3; i++) {
		static const char *const names[] = {"main", "outer", "inner"};

		f.flags = inlined && i == 2 ? PROFILE_FRAME_INLINED : 0;
		f.line = 10 + i;
		if (profile_string(p, names[i], &f.name) || profile_frame(p, &f, &id) ||
			profile_node(p, node, id, &node))
			return -1;
	}
	return profile_add(p, context, node, values);
}

/* Ours, as written and inflated: a mutation of the compressed bytes seldom gets past the CRC. */
int fuzz_seed(unsigned n, struct buf *out)
{
	struct profile p;
	char *data = NULL;
	size_t size = 0;
	FILE *f;
	int r = -1;

	if (n > 2)
		return -1;
	profile_init(&p, 100, 4096);
	p.ntypes = 2;
	profile_string(&p, "samples", &p.types[0].type);
	profile_string(&p, "count", &p.types[0].unit);
	profile_string(&p, "cpu", &p.types[1].type);
	profile_string(&p, "nanoseconds", &p.types[1].unit);
	f = open_memstream(&data, &size);
	if (f && add_stack(&p, n > 0) == 0 && export_pprof(f, &p) == 0 && fclose(f) == 0)
		r = n == 2 ? buf_append(out, data, size) : gzip_inflate(data, size, out);
	free(data);
	profile_deinit(&p);
	return r;
}
