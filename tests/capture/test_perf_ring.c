/* SPDX-License-Identifier: Apache-2.0 */
/* Rings, the decoder of the side band, CPU lists and the fallbacks of perf_open, over bytes. */
#include "tests/harness.h"

#include <errno.h>

#include "capture/cpu_list.h"
#include "capture/sideband.h"
#include "tests/capture/ring_bytes.h"

static void ring__every_record_at_every_offset(void **state)
{
	struct perf_ring_scratch scratch;
	struct fake_ring f;

	(void)state;
	// Every place where a record can wrap, and positions past 32 bits.
	for (uint64_t start = (1ull << 33) - 4096; start < (1ull << 33) + 64; start += 8) {
		uint8_t bytes[208];
		struct perf_event_header h = {.type = 7, .size = sizeof(bytes)};
		const struct perf_event_header *got;

		fake_ring_init(&f, start);
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)(i * 7 + start);
		memcpy(bytes, &h, sizeof(h));
		for (int i = 0; i < 19; i++)
			fake_ring_write(&f, bytes, sizeof(bytes));
		perf_ring_begin(&f.ring);
		for (int i = 0; i < 19; i++) {
			got = perf_ring_next(&f.ring, &scratch);
			assert_non_null(got);
			assert_memory_equal(got, bytes, sizeof(bytes));
			assert_int_equal((uintptr_t)got % 8, 0);
		}
		assert_null(perf_ring_next(&f.ring, &scratch));
		assert_int_equal(f.page.data_tail, start);
		perf_ring_end(&f.ring);
		assert_int_equal(f.page.data_tail, start + sizeof(bytes) * 19);
		assert_int_equal(f.ring.malformed, 0);
	}
}

static void ring__bad_sizes_drop_the_pass(void **state)
{
	static const uint16_t sizes[] = {0, 7, 12, 8000, 65535, 264};
	struct perf_ring_scratch scratch;
	struct fake_ring f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct perf_event_header h = {.type = 7, .size = sizes[i]};
		uint8_t rest[248] = {0};

		fake_ring_init(&f, 4096 - 16);
		fake_ring_write(&f, &h, sizeof(h));
		fake_ring_write(&f, rest, sizeof(rest));
		perf_ring_begin(&f.ring);
		assert_null(perf_ring_next(&f.ring, &scratch));
		perf_ring_end(&f.ring);
		assert_int_equal(f.ring.malformed, 1);
		assert_int_equal(f.page.data_tail, f.page.data_head);
	}
	// A head that is further away than the ring is large.
	fake_ring_init(&f, 0);
	f.page.data_head = 8192;
	perf_ring_begin(&f.ring);
	assert_null(perf_ring_next(&f.ring, &scratch));
	assert_int_equal(f.ring.malformed, 1);
}

static void put_mmap2(struct buf *b, bool build_id, const char *path)
{
	record_begin(b, PERF_RECORD_MMAP2, build_id ? PERF_RECORD_MISC_MMAP_BUILD_ID : 0);
	put_u32(b, 10);
	put_u32(b, 11);
	put_u64(b, 0x400000);
	put_u64(b, 0x2000);
	put_u64(b, 0x1000);
	if (build_id) {
		put_u32(b, 20);
		for (uint8_t i = 0; i < 20; i++)
			buf_append_char(b, (char)(0xa0 + i));
	} else {
		put_u32(b, 8);
		put_u32(b, 1);
		put_u64(b, 4711);
		put_u64(b, 99);
	}
	put_u32(b, 5);
	put_u32(b, 2);
	put_text(b, path);
}

static void decode__mmap_in_all_forms(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(4096);
	struct capture_event e;

	(void)state;
	put_mmap2(&b, false, "/usr/bin/x y");
	assert_ok(sideband_decode(record_end(&b, 10, 11, 123), 3, &e));
	assert_int_equal(e.type, CAPTURE_MMAP);
	assert_int_equal(e.cpu, 3);
	assert_int_equal(e.pid, 10);
	assert_int_equal(e.tid, 11);
	assert_int_equal(e.time, 123);
	assert_int_equal(e.mmap.start, 0x400000);
	assert_int_equal(e.mmap.len, 0x2000);
	assert_int_equal(e.mmap.pgoff, 0x1000);
	assert_int_equal(e.mmap.maj, 8);
	assert_int_equal(e.mmap.min, 1);
	assert_int_equal(e.mmap.ino, 4711);
	assert_int_equal(e.mmap.ino_generation, 99);
	assert_int_equal(e.mmap.build_id_len, 0);
	assert_int_equal(e.mmap.prot, 5);
	assert_int_equal(e.mmap.flags, 2);
	assert_string_equal(e.mmap.path, "/usr/bin/x y");
	put_mmap2(&b, true, "/lib/y (deleted)");
	assert_ok(sideband_decode(record_end(&b, 10, 11, 123), 3, &e));
	assert_int_equal(e.mmap.ino, 0);
	assert_int_equal(e.mmap.build_id_len, 20);
	assert_int_equal(e.mmap.build_id[19], 0xb3);
	assert_string_equal(e.mmap.path, "/lib/y (deleted)");
	// A build id longer than there is room.
	b.data[40] = (char)0xff;
	assert_ok(sideband_decode((void *)b.data, 3, &e));
	assert_int_equal(e.mmap.build_id_len, 20);

	record_begin(&b, PERF_RECORD_MMAP, 0);
	put_u32(&b, 10);
	put_u32(&b, 11);
	put_u64(&b, 0x7000);
	put_u64(&b, 0x1000);
	put_u64(&b, 0);
	put_text(&b, "//anon");
	assert_ok(sideband_decode(record_end(&b, 10, 11, 5), 0, &e));
	assert_int_equal(e.type, CAPTURE_MMAP);
	assert_int_equal(e.mmap.start, 0x7000);
	assert_string_equal(e.mmap.path, "//anon");
}

static void decode__tasks_and_comm(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(4096);
	struct capture_event e;

	(void)state;
	for (int i = 0; i < 2; i++) {
		record_begin(&b, i ? PERF_RECORD_EXIT : PERF_RECORD_FORK, 0);
		put_u32(&b, 20);
		put_u32(&b, 10);
		put_u32(&b, 21);
		put_u32(&b, 11);
		put_u64(&b, 77);
		assert_ok(sideband_decode(record_end(&b, 10, 11, 77), 1, &e));
		assert_int_equal(e.type, i ? CAPTURE_EXIT : CAPTURE_FORK);
		assert_int_equal(e.pid, 20);
		assert_int_equal(e.tid, 21);
		assert_int_equal(e.fork.ppid, 10);
		assert_int_equal(e.fork.ptid, 11);
		assert_int_equal(e.time, 77);
		record_begin(&b, PERF_RECORD_COMM, i ? PERF_RECORD_MISC_COMM_EXEC : 0);
		put_u32(&b, 20);
		put_u32(&b, 21);
		put_text(&b, "a b");
		assert_ok(sideband_decode(record_end(&b, 20, 21, 78), 1, &e));
		assert_int_equal(e.type, CAPTURE_COMM);
		assert_int_equal(e.comm.exec, i);
		assert_string_equal(e.comm.text, "a b");
	}
}

static void decode__cgroup_ksymbol_lost_throttle(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(4096);
	struct capture_event e;

	(void)state;
	record_begin(&b, PERF_RECORD_CGROUP, 0);
	put_u64(&b, 1234);
	put_text(&b, "/a/b");
	assert_ok(sideband_decode(record_end(&b, 1, 1, 9), 0, &e));
	assert_int_equal(e.type, CAPTURE_CGROUP);
	assert_int_equal(e.cgroup.id, 1234);
	assert_string_equal(e.cgroup.path, "/a/b");
	for (uint16_t gone = 0; gone < 2; gone++) {
		record_begin(&b, PERF_RECORD_KSYMBOL, 0);
		put_u64(&b, 0xffffffffa0000000);
		put_u32(&b, 96);
		put_u16(&b, 1);
		put_u16(&b, gone);
		put_text(&b, "bpf_prog_0123_x");
		assert_ok(sideband_decode(record_end(&b, 1, 1, 9), 0, &e));
		assert_int_equal(e.type, CAPTURE_KSYMBOL);
		assert_int_equal(e.ksymbol.addr, 0xffffffffa0000000);
		assert_int_equal(e.ksymbol.len, 96);
		assert_int_equal(e.ksymbol.gone, gone);
		assert_string_equal(e.ksymbol.name, "bpf_prog_0123_x");
		record_begin(&b, gone ? PERF_RECORD_THROTTLE : PERF_RECORD_UNTHROTTLE, 0);
		put_u64(&b, 5);
		put_u64(&b, 5);
		put_u64(&b, 5);
		assert_ok(sideband_decode(record_end(&b, 1, 1, 9), 0, &e));
		assert_int_equal(e.type, CAPTURE_THROTTLE);
		assert_int_equal(e.throttle.on, gone);
	}
	record_begin(&b, PERF_RECORD_LOST, 0);
	put_u64(&b, 5);
	put_u64(&b, 42);
	assert_ok(sideband_decode(record_end(&b, 1, 1, 9), 7, &e));
	assert_int_equal(e.type, CAPTURE_LOST);
	assert_int_equal(e.cpu, 7);
	assert_int_equal(e.lost.count, 42);
	assert_false(e.lost.samples);
	record_begin(&b, PERF_RECORD_SWITCH, 0);
	assert_int_equal(sideband_decode(record_end(&b, 1, 1, 9), 7, &e), 1);
}

/* A record cut anywhere (its last bytes are then taken for its sample id) is never read past. */
static void decode__truncated(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(4096);
	struct capture_event e;

	(void)state;
	put_mmap2(&b, true, "/lib/a-path-of-some-length");
	record_end(&b, 10, 11, 123);
	for (size_t size = sizeof(struct perf_event_header); size < b.len; size += 8) {
		char *tight = malloc(size);
		int r;

		memcpy(tight, b.data, size);
		((struct perf_event_header *)tight)->size = (uint16_t)size;
		r = sideband_decode((void *)tight, 0, &e);
		assert_true(r == 0 || r == -EINVAL);
		if (size < 96)
			assert_int_equal(r, -EINVAL);
		free(tight);
	}
	// A path without its end.
	record_begin(&b, PERF_RECORD_COMM, 0);
	put_u32(&b, 20);
	put_u32(&b, 21);
	put_u64(&b, UINT64_MAX);
	assert_int_equal(sideband_decode(record_end(&b, 20, 21, 78), 1, &e), -EINVAL);
}

static void cpu_list__forms(void **state)
{
	static const struct {
		const char *text;
		int r;
		size_t n;
	} cases[] = {
		{"0\n", 0, 1},
		{"0-3,8,10-11\n", 0, 7},
		{"0-8191", 0, 8192},
		{"", 0, 0},
		{"3-1", -EINVAL, 0},
		{"1,1", -EINVAL, 0},
		{"2,1", -EINVAL, 0},
		{"0-", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"0-99999999999", -EINVAL, 0},
		{"x", -EINVAL, 0},
		{"0-1x", -EINVAL, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cpu_vec v = {.cap = CPU_LIST_MAX};

		assert_int_equal(cpu_list_parse(cases[i].text, &v), cases[i].r);
		if (!cases[i].r)
			assert_int_equal(v.len, cases[i].n);
		cpu_vec_deinit(&v);
	}
}

/* A kernel that knows only some features. */
struct old_kernel {
	struct perf_sys sys;
	uint32_t refuses;
	int error;
	unsigned calls;
};

static int old_open(const struct perf_sys *sys, struct perf_event_attr *attr, pid_t pid, int cpu)
{
	struct old_kernel *k = (struct old_kernel *)sys;
	struct perf_event_attr without = *attr;

	(void)pid, (void)cpu;
	k->calls++;
	perf_open_without(&without, k->refuses);
	return memcmp(&without, attr, sizeof(without)) ? k->error : 1000;
}

static void perf_open__goes_without_what_is_refused(void **state)
{
	static const struct {
		uint32_t refuses, lost;
		int error, r;
	} cases[] = {
		{0, 0, -EINVAL, 1000},
		{PERF_FEATURE_BUILD_ID, PERF_FEATURE_BUILD_ID, -EINVAL, 1000},
		{PERF_FEATURE_KSYMBOL, PERF_FEATURE_KSYMBOL, -E2BIG, 1000},
		// Linux 4.18.
		{PERF_FEATURE_BUILD_ID | PERF_FEATURE_CGROUP | PERF_FEATURE_KSYMBOL,
			PERF_FEATURE_BUILD_ID | PERF_FEATURE_CGROUP | PERF_FEATURE_KSYMBOL, -EINVAL,
			1000},
		{PERF_FEATURE_MMAP2, PERF_FEATURE_BUILD_ID | PERF_FEATURE_MMAP2, -EINVAL, 1000},
		// Not a matter of features.
		{PERF_FEATURE_CGROUP, 0, -EACCES, -EACCES},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct old_kernel k = {
			.sys.open = old_open, .refuses = cases[i].refuses, .error = cases[i].error};
		_cleanup_buf_ struct buf text = BUF_INIT(1024);
		struct perf_event_attr attr;
		uint32_t lost = 0;

		sideband_attr(&attr, false);
		assert_int_equal(perf_open(&k.sys, &attr, -1, 0, &lost), cases[i].r);
		assert_int_equal(lost, cases[i].lost);
		perf_open_describe_lost(&text, lost);
		assert_int_equal(text.len != 0, lost != 0);
		// The next CPU is opened at the first try.
		k.calls = 0;
		if (cases[i].r > 0) {
			assert_int_equal(perf_open(&k.sys, &attr, -1, 1, &lost), 1000);
			assert_int_equal(k.calls, 1);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ring__every_record_at_every_offset),
		cmocka_unit_test(ring__bad_sizes_drop_the_pass),
		cmocka_unit_test(decode__mmap_in_all_forms),
		cmocka_unit_test(decode__tasks_and_comm),
		cmocka_unit_test(decode__cgroup_ksymbol_lost_throttle),
		cmocka_unit_test(decode__truncated),
		cmocka_unit_test(cpu_list__forms),
		cmocka_unit_test(perf_open__goes_without_what_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
