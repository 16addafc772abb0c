/* SPDX-License-Identifier: Apache-2.0 */
/* profile.proto, written and read back: inlined frames share a location, build ids, lines, labels and
 * every value survive, and a file cut anywhere is refused or read in part, never misread. */
#include "tests/harness.h"

#include <errno.h>

#include "base/compress.h"
#include "export/export.h"
#include "export/import.h"

static uint32_t text(struct profile *p, const char *s)
{
	uint32_t id;

	assert_ok(profile_string(p, s, &id));
	return id;
}

static void make(struct profile *p)
{
	static const char *const names[] = {"main", "outer", "middle", "inner", "(/lib/x.so)"};
	const int64_t values[PROFILE_VALUES_MAX] = {3, 30000000};
	struct profile_context who = {.pid = 12, .tid = 13};
	uint32_t context, frame, node = 0;

	profile_init(p, 1000, 1 << 20);
	p->ntypes = 2;
	p->types[0] = (struct profile_value_type){text(p, "samples"), text(p, "count")};
	p->types[1] = (struct profile_value_type){text(p, "cpu"), text(p, "nanoseconds")};
	p->meta.period = 10000000;
	p->meta.start_real_ns = 1234567890123456789u;
	p->meta.duration_ns = 5000000000u;
	p->meta.hostname = text(p, "h\xff st");
	p->meta.has_ledger = true;
	who.comm = text(p, "comm");
	who.thread_comm = text(p, "worker");
	who.container = text(p, "web-1");
	who.appid = text(p, "python: x");
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		struct profile_frame f = {
			.name = text(p, names[i]),
			.module = text(p, i == 4 ? "/lib/x.so" : "/bin/x"),
			.build_id = i == 4 ? 0 : text(p, "ab12"),
			.kind = PROFILE_FRAME_NATIVE,
			.address = 0x1000 + (i >= 2 ? 0x100 : i),
		};

		if (i < 4) {
			f.file = text(p, "a.c");
			f.line = 10 + i;
			f.start_line = 5 + i;
		}
		// outer is real; middle and inner were inlined into it at one address.
		f.flags = i == 2 || i == 3 ? PROFILE_FRAME_INLINED
			  : i == 4	   ? PROFILE_FRAME_NO_SYMBOL
					   : 0;
		assert_ok(profile_frame(p, &f, &frame));
		assert_ok(profile_node(p, node, frame, &node));
	}
	assert_ok(profile_context(p, &who, &context));
	assert_ok(profile_add(p, context, node, values));
}

static void write_pprof(const struct profile *p, char **data, size_t *size)
{
	FILE *f = open_memstream(data, size);

	assert_non_null(f);
	assert_ok(export_pprof(f, p));
	fclose(f);
}

static void pprof__round_trip(void **state)
{
	struct text_complaints complaints = {.name = "test", .quiet = true};
	const struct profile_context *who;
	struct import_stats stats;
	struct profile p, q;
	uint32_t ids[8];
	char *data;
	size_t size;

	(void)state;
	make(&p);
	write_pprof(&p, &data, &size);
	profile_init(&q, 1000, 1 << 20);
	assert_ok(import_pprof(data, size, &q, &complaints, &stats));
	assert_int_equal(stats.samples, 1);
	assert_int_equal(complaints.count, 0);
	assert_int_equal(q.ntypes, 2);
	assert_string_equal(profile_text(&q, q.types[1].unit), "nanoseconds");
	assert_int_equal(q.meta.period, 10000000);
	assert_true(q.meta.start_real_ns == p.meta.start_real_ns);
	assert_true(q.meta.duration_ns == p.meta.duration_ns);
	assert_int_equal(q.samples.data[0].values[0], 3);
	assert_int_equal(q.samples.data[0].values[1], 30000000);
	who = profile_context_get(&q, q.samples.data[0].context);
	assert_int_equal(who->pid, 12);
	assert_int_equal(who->tid, 13);
	assert_string_equal(profile_text(&q, who->comm), "comm");
	assert_string_equal(profile_text(&q, who->thread_comm), "worker");
	assert_string_equal(profile_text(&q, who->container), "web-1");
	assert_string_equal(profile_text(&q, who->appid), "python: x");
	assert_int_equal(profile_stack(&q, q.samples.data[0].node, ids, 8), 5);
	for (unsigned i = 0; i < 5; i++) {
		const struct profile_frame *was = profile_frame_get(&p, i + 1);
		const struct profile_frame *f = profile_frame_get(&q, ids[i]);

		assert_string_equal(profile_text(&q, f->name), profile_text(&p, was->name));
		assert_string_equal(profile_text(&q, f->module), profile_text(&p, was->module));
		assert_string_equal(profile_text(&q, f->build_id), profile_text(&p, was->build_id));
		assert_string_equal(profile_text(&q, f->file), profile_text(&p, was->file));
		assert_int_equal(f->line, was->line);
		assert_int_equal(f->start_line, was->start_line);
		assert_int_equal(f->flags, was->flags);
		// What is inlined has the address of what it was inlined into.
		assert_int_equal(f->address, i == 2 || i == 3 ? 0x1001 : was->address);
	}
	profile_deinit(&p);
	profile_deinit(&q);
	free(data);
}

static void pprof__cut_files(void **state)
{
	_cleanup_buf_ struct buf raw = BUF_INIT(1 << 20);
	struct text_complaints complaints = {.name = "test", .quiet = true};
	struct profile p;
	char *data;
	size_t size;

	(void)state;
	make(&p);
	write_pprof(&p, &data, &size);
	profile_deinit(&p);
	assert_ok(gzip_inflate(data, size, &raw));
	for (size_t len = 0; len < raw.len; len++) {
		struct import_stats stats;

		profile_init(&p, 1000, 1 << 20);
		complaints.count = 0;
		// Strings come last: without them it is no profile, with some it is one with a
		// complaint, unless the cut falls between two fields.
		if (import_pprof(raw.data, len, &p, &complaints, &stats) == 0)
			assert_true(stats.samples <= 1);
		profile_deinit(&p);
	}
	for (size_t len = 0; len < size; len++) {
		struct import_stats stats;

		profile_init(&p, 1000, 1 << 20);
		assert_int_not_equal(import_pprof(data, len, &p, &complaints, &stats), 0);
		profile_deinit(&p);
	}
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pprof__round_trip),
		cmocka_unit_test(pprof__cut_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
