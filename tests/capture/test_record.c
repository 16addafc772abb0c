/* SPDX-License-Identifier: Apache-2.0 */
/* A recording holds every field of every record, and gives back what was written. */
#include "tests/harness.h"

#include <errno.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "capture/order.h"
#include "capture/proc_snapshot.h"
#include "capture/record_file.h"
#include "capture/source_replay.h"

#define PATH_FORMAT "/tmp/test-record-XXXXXX"

static const struct capture_source described = {
	.frequency = 199,
	.ncpus = 2,
	.nevents = 2,
	.events = {{"cycles", 0, 0}, {"a-name-longer-than-there-is-room-for-it", 1, 77}},
};

static const uint64_t kernel_words[] = {0xffffffff81000000, 0xffffffff81000123};
static const uint64_t user_words[] = {1, 2, 3};
static const uint8_t stack_bytes[] = "0123456789abcdef0";
static const struct rec_handoff handoff = {.valid = 0x1ffff,
	.regs = {[7] = 4096, [16] = 0x401000},
	.stack_base = 4096,
	.stack_len = 17};
static const struct rec_sample whole = {.type = REC_SAMPLE,
	.flags = REC_F_HANDOFF,
	.len = sizeof(struct rec_sample) + 5 * 8 + sizeof(struct rec_handoff) + 17,
	.time = 1007,
	.weight = 5,
	.cgroup = 9,
	.pid = 10,
	.tid = 11,
	.cpu = 3,
	.kernel_words = 2,
	.user_words = 3,
	.outcome = REC_OUT_HANDOFF,
	.reason = REC_WHY_NO_TABLE,
	.event = 1,
	.comm = "worker"};

#define WHO .cpu = 3, .pid = 10, .tid = 11

/* One of each, with a value in each field. */
static const struct capture_event events[] = {
	{.type = CAPTURE_FORK, WHO, .time = 1000, .fork = {1, 2}},
	{.type = CAPTURE_COMM, WHO, .time = 1001, .comm = {"name", true}},
	{.type = CAPTURE_COMM, WHO, .time = 1002, .comm = {"", false}},
	{.type = CAPTURE_MMAP,
		WHO,
		.time = 1003,
		.mmap = {0x400000, 0x1000, 0x2000, 8, 1, 4711, 12, 5, 2, 0, {0},
			"/bin/x (deleted)"}},
	{.type = CAPTURE_MMAP,
		WHO,
		.time = 1004,
		.mmap = {0x400000, 0x1000, 0x2000, 0, 0, 0, 0, 5, 2, 20, {1, 2, 3, [19] = 9},
			"/y"}},
	{.type = CAPTURE_CGROUP, WHO, .time = 1005, .cgroup = {77, "/a/b"}},
	{.type = CAPTURE_KSYMBOL,
		WHO,
		.time = 1006,
		.ksymbol = {0xffffffffa0000000, 64, true, "bpf_x"}},
	{.type = CAPTURE_SAMPLE,
		WHO,
		.time = 1007,
		.sample = {&whole, kernel_words, user_words, &handoff, stack_bytes}},
	{.type = CAPTURE_LOST, WHO, .time = 1008, .lost = {5, true}},
	{.type = CAPTURE_THROTTLE, WHO, .time = 1009, .throttle = {true}},
	{.type = CAPTURE_NAMED,
		WHO,
		.time = 1009,
		.named = {user_words, 3, 12, 10, true, "python3", "f", "/a.py", "[p==1]"}},
	{.type = CAPTURE_EXIT, WHO, .time = 1010, .fork = {1, 2}},
};

static void assert_same_sample(const struct capture_sample *a, const struct capture_sample *b)
{
	assert_memory_equal(a->rec, b->rec, sizeof(*a->rec));
	assert_memory_equal(a->kernel, b->kernel, 8 * a->rec->kernel_words);
	assert_memory_equal(a->user, b->user, 8 * a->rec->user_words);
	assert_memory_equal(a->handoff, b->handoff, sizeof(*a->handoff));
	assert_memory_equal(a->stack, b->stack, a->handoff->stack_len);
}

static void assert_same(const struct capture_event *a, const struct capture_event *b)
{
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->cpu, b->cpu);
	assert_int_equal(a->pid, b->pid);
	assert_int_equal(a->tid, b->tid);
	assert_int_equal(a->time, b->time);
	switch (a->type) {
	case CAPTURE_SAMPLE:
		assert_same_sample(&a->sample, &b->sample);
		break;
	case CAPTURE_MMAP:
		assert_memory_equal(&a->mmap, &b->mmap, offsetof(struct capture_mmap, path));
		assert_string_equal(a->mmap.path, b->mmap.path);
		break;
	case CAPTURE_COMM:
		assert_string_equal(a->comm.text, b->comm.text);
		assert_int_equal(a->comm.exec, b->comm.exec);
		break;
	case CAPTURE_FORK:
	case CAPTURE_EXIT:
		assert_int_equal(a->fork.ppid, b->fork.ppid);
		assert_int_equal(a->fork.ptid, b->fork.ptid);
		break;
	case CAPTURE_CGROUP:
		assert_int_equal(a->cgroup.id, b->cgroup.id);
		assert_string_equal(a->cgroup.path, b->cgroup.path);
		break;
	case CAPTURE_KSYMBOL:
		assert_int_equal(a->ksymbol.addr, b->ksymbol.addr);
		assert_int_equal(a->ksymbol.len, b->ksymbol.len);
		assert_int_equal(a->ksymbol.gone, b->ksymbol.gone);
		assert_string_equal(a->ksymbol.name, b->ksymbol.name);
		break;
	case CAPTURE_LOST:
		assert_int_equal(a->lost.count, b->lost.count);
		assert_int_equal(a->lost.samples, b->lost.samples);
		break;
	case CAPTURE_THROTTLE:
		assert_int_equal(a->throttle.on, b->throttle.on);
		break;
	case CAPTURE_NAMED:
		assert_int_equal(a->named.nwords, b->named.nwords);
		assert_memory_equal(a->named.words, b->named.words, 8 * a->named.nwords);
		assert_int_equal(a->named.line, b->named.line);
		assert_int_equal(a->named.start_line, b->named.start_line);
		assert_int_equal(a->named.stale, b->named.stale);
		assert_string_equal(a->named.comm, b->named.comm);
		assert_string_equal(a->named.name, b->named.name);
		assert_string_equal(a->named.file, b->named.file);
		assert_string_equal(a->named.package, b->named.package);
		break;
	}
}

static int compare(void *arg, const struct capture_event *e)
{
	size_t *n = arg;

	assert_true(*n < ARRAY_SIZE(events));
	assert_same(&events[(*n)++], e);
	return 0;
}

static const struct capture_stats final_stats = {
	.kernel = {.entries = 12, .outcomes = {[REC_OUT_IDLE] = 11, [REC_OUT_HANDOFF] = 1}},
	.samples = 1,
	.records = 10,
};

static void write_all(const char *path)
{
	struct record_writer w;

	assert_ok(record_writer_open(&w, path, &described));
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		assert_ok(record_writer_add(&w, &events[i]));
	assert_ok(record_writer_commit(&w, &final_stats));
	record_writer_close(&w);
}

static void record__replay_gives_the_same(void **state)
{
	char path[] = PATH_FORMAT, why[CAPTURE_WHY];
	struct capture_source *s;
	struct capture_stats stats;
	size_t n = 0;

	(void)state;
	close(mkstemp(path));
	write_all(path);
	assert_ok(capture_source_replay_new(path, &s, why));
	assert_int_equal(s->frequency, 199);
	assert_int_equal(s->ncpus, 2);
	assert_int_equal(s->nevents, 2);
	assert_string_equal(s->events[0].name, "cycles");
	assert_string_equal(s->events[1].name, "a-name-longer-than-there-is-roo");
	assert_int_equal(s->events[1].perf_config, 77);
	// Of the machine that recorded: whoever has a recorded pid now has another one.
	assert_int_equal(s->vdso != NULL, getauxval(AT_SYSINFO_EHDR) != 0);
	assert_true(!s->vdso || (s->vdso_len > 4 && !memcmp(s->vdso, "\177ELF", 4)));
	assert_ok(s->ops->start(s));
	assert_ok(s->ops->drain(s, 999, compare, &n));
	assert_int_equal(n, 0);
	assert_ok(s->ops->drain(s, 1004, compare, &n));
	assert_int_equal(n, 5);
	assert_ok(s->ops->drain(s, 0, compare, &n));
	assert_int_equal(n, ARRAY_SIZE(events));
	s->ops->stop(s);
	assert_ok(s->ops->drain(s, 0, compare, &n));
	s->ops->stats(s, &stats);
	assert_memory_equal(&stats, &final_stats, sizeof(stats));
	s->ops->free(s);
	unlink(path);
}

static int ignore(void *arg, const struct capture_event *e)
{
	size_t *n = arg;

	(void)e;
	(*n)++;
	return 0;
}

/* Cut anywhere: what came before is handed out, then -EBADMSG or, between two records, the end. */
static void record__cut_files(void **state)
{
	char path[] = PATH_FORMAT, why[CAPTURE_WHY];
	static char bytes[65536];
	size_t len, ends = 0, last = 0, head = 0;
	FILE *f;

	(void)state;
	close(mkstemp(path));
	write_all(path);
	f = fopen(path, "re");
	len = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
	for (size_t cut = 1; cut < len; cut++) {
		struct capture_source *s;
		size_t n = 0;
		int r = source_replay_new(fmemopen(bytes, cut, "r"), "cut", &s, why);

		if (r) {
			assert_int_equal(r, -EBADMSG);
			assert_true(cut < 32 + 2 * 48 + 8 + RECORD_VDSO_MAX);
			head = cut;
			continue;
		}
		r = s->ops->drain(s, 0, ignore, &n);
		assert_true(r == 0 || r == -EBADMSG);
		assert_true(n >= last);
		last = n;
		ends += !r;
		s->ops->free(s);
	}
	assert_int_equal(last, ARRAY_SIZE(events));
	assert_int_equal(ends, ARRAY_SIZE(events) + 1);
	// The head, with the vDSO in it, is needed whole.
	assert_true(head >= 32 + 2 * 48 + 7);
	unlink(path);
}

static void record__not_ours_is_refused_with_a_reason(void **state)
{
	char path[] = PATH_FORMAT, why[CAPTURE_WHY] = "";
	struct capture_source *s;
	int fd = mkstemp(path);

	(void)state;
	assert_int_equal(write(fd, "GPRECORX and more of that kind, 64 bytes", 40), 40);
	close(fd);
	assert_int_equal(capture_source_replay_new(path, &s, why), -EBADMSG);
	assert_non_null(strstr(why, path));
	unlink(path);
	assert_int_equal(capture_source_replay_new(path, &s, why), -ENOENT);
	assert_non_null(strstr(why, "No such file"));
}

/* A full disk ends the recording, leaves no file and no half of one. */
static void record__full_disk(void **state)
{
	struct record_writer w;
	int r = 0;

	(void)state;
	if (access("/dev/full", W_OK))
		test_skip("no /dev/full");
	char path[] = PATH_FORMAT;

	close(mkstemp(path));
	unlink(path);
	assert_ok(record_writer_open(&w, path, &described));
	// The stream behind is exchanged for one that no byte can be written to.
	assert_non_null(freopen("/dev/full", "we", w.file.f));
	for (int i = 0; i < 10000 && !r; i++)
		r = record_writer_add(&w, &events[7]);
	assert_int_equal(r, -ENOSPC);
	assert_int_equal(record_writer_add(&w, &events[0]), -ENOSPC);
	assert_int_equal(record_writer_commit(&w, NULL), -ENOSPC);
	record_writer_close(&w);
	assert_int_equal(access(path, F_OK), -1);
}

/* A source that hands out the events above. */
static int fake_start(struct capture_source *s)
{
	(void)s;
	return 0;
}

static void fake_stop(struct capture_source *s)
{
	(void)s;
}

static int fake_drain(struct capture_source *s, uint64_t until, capture_event_fn fn, void *arg)
{
	int r = 0;

	(void)s, (void)until;
	for (size_t i = 0; i < ARRAY_SIZE(events) && !r; i++)
		r = fn(arg, &events[i]);
	return r;
}

static void fake_stats(struct capture_source *s, struct capture_stats *ret)
{
	(void)s;
	*ret = final_stats;
}

static const struct capture_source_ops fake_ops = {
	.name = "fake",
	.start = fake_start,
	.stop = fake_stop,
	.drain = fake_drain,
	.stats = fake_stats,
	.free = fake_stop,
};

struct after_snapshot {
	size_t matched;
	bool self, self_mapping;
};

static int after_snapshot(void *arg, const struct capture_event *e)
{
	struct after_snapshot *a = arg;

	if (e->time >= 1000 && e->time <= 1010 && e->pid == 10)
		return compare(&a->matched, e);
	if (e->pid == (uint32_t)getpid()) {
		a->self |= e->type == CAPTURE_COMM && e->comm.exec &&
			   !strncmp(e->comm.text, "test_record", 11);
		a->self_mapping |=
			e->type == CAPTURE_MMAP && strstr(e->mmap.path, "test_record") &&
			(uint64_t)(uintptr_t)after_snapshot - e->mmap.start < e->mmap.len &&
			e->mmap.ino;
	}
	return 0;
}

static void record__decorator_writes_what_ran_before(void **state)
{
	char path[] = PATH_FORMAT, why[CAPTURE_WHY];
	struct capture_source inner = described, *s;
	struct after_snapshot a = {0};
	struct capture_stats stats;
	size_t n = 0;

	(void)state;
	inner.ops = &fake_ops;
	close(mkstemp(path));
	assert_ok(capture_source_record_new(&inner, path, &s, why));
	assert_int_equal(s->frequency, 199);
	assert_null(s->ops->set_process);
	assert_ok(s->ops->start(s));
	s->ops->stop(s);
	assert_ok(s->ops->drain(s, 0, compare, &n));
	assert_int_equal(n, ARRAY_SIZE(events));
	s->ops->free(s);
	assert_ok(capture_source_replay_new(path, &s, why));
	assert_ok(s->ops->drain(s, 0, after_snapshot, &a));
	assert_int_equal(a.matched, ARRAY_SIZE(events));
	assert_true(a.self);
	assert_true(a.self_mapping);
	s->ops->stats(s, &stats);
	assert_memory_equal(&stats, &final_stats, sizeof(stats));
	s->ops->free(s);
	unlink(path);
}

static void write_text(const char *dir, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

struct fixture_seen {
	unsigned forks, comms, mmaps;
	bool odd_name, anon, shared, vdso;
};

static int see_fixture(void *arg, const struct capture_event *e)
{
	struct fixture_seen *s = arg;

	assert_int_equal(e->pid, 7);
	assert_int_equal(e->time, 55);
	s->forks += e->type == CAPTURE_FORK && e->fork.ppid == 3;
	s->comms += e->type == CAPTURE_COMM;
	s->mmaps += e->type == CAPTURE_MMAP;
	if (e->type == CAPTURE_COMM)
		s->odd_name |= !strcmp(e->comm.text, "a) R 9 (b");
	if (e->type != CAPTURE_MMAP)
		return 0;
	s->anon |= !strcmp(e->mmap.path, "//anon") && e->mmap.start == 0x7f0000000000;
	s->vdso |= !strcmp(e->mmap.path, "[vdso]");
	s->shared |= e->mmap.flags == 1 && e->mmap.maj == 0xfe && e->mmap.min == 0x10 &&
		     e->mmap.ino == 42 && e->mmap.pgoff == 0x3000 && e->mmap.len == 0x2000 &&
		     !strcmp(e->mmap.path, "/a b (deleted)");
	return 0;
}

static void snapshot__reads_a_fixture(void **state)
{
	char root[] = "/tmp/test-record-proc-XXXXXX", dir[128], task[160];
	struct fixture_seen s = {0};

	(void)state;
	assert_non_null(mkdtemp(root));
	snprintf(dir, sizeof(dir), "%s/7", root);
	mkdir(dir, 0755);
	snprintf(dir, sizeof(dir), "%s/7/task", root);
	mkdir(dir, 0755);
	snprintf(task, sizeof(task), "%s/7/task/7", root);
	mkdir(task, 0755);
	write_text(task, "comm", "a) R 9 (b\n");
	write_text(task, "stat", "7 (a) R 9 (b) S 3 7 7 0 -1\n");
	write_text(task, "maps",
		"00400000-00401000 r--p 00000000 fe:10 41 /a b\n"
		"00401000-00403000 r-xs 00003000 fe:10 42                 /a b (deleted)\n"
		"7f0000000000-7f0000001000 rwxp 00000000 00:00 0 \n"
		"7ffd0000-7ffd2000 r-xp 00000000 00:00 0                 [vdso]\n"
		"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0         [vsyscall]\n"
		"short\n"
		"00500000-00501000 r-xp 0000");
	assert_ok(proc_snapshot(root, 55, see_fixture, &s));
	assert_int_equal(s.forks, 1);
	assert_int_equal(s.comms, 1);
	assert_int_equal(s.mmaps, 3);
	assert_true(s.odd_name && s.anon && s.shared && s.vdso);
	static const char *const names[] = {"comm", "stat", "maps"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char path[256];

		snprintf(path, sizeof(path), "%s/%s", task, names[i]);
		unlink(path);
	}
	rmdir(task);
	rmdir(dir);
	*strrchr(dir, '/') = '\0';
	rmdir(dir);
	assert_ok(rmdir(root));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(record__replay_gives_the_same),
		cmocka_unit_test(record__cut_files),
		cmocka_unit_test(record__not_ours_is_refused_with_a_reason),
		cmocka_unit_test(record__full_disk),
		cmocka_unit_test(record__decorator_writes_what_ran_before),
		cmocka_unit_test(snapshot__reads_a_fixture),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
