/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of rings on machines that this one is not: many CPUs, little locked memory, few
 * descriptors. The kernel is a fake that hands out ordinary memory. */
#include "tests/harness.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "capture/ring_set.h"
#include "capture/source.h"
#include "tests/capture/capture_harness.h"
#include "tests/capture/ring_bytes.h"

#define RINGS_MAX 2048

struct fake_kernel {
	struct perf_sys sys;
	size_t quota, used; // bytes of locked memory
	unsigned opens, opens_max; // 0: no limit
	int cpu_of_fd[RINGS_MAX * 4];
	uint8_t *ring_of_cpu[RINGS_MAX];
	size_t ring_bytes;
};

static int fake_open(const struct perf_sys *sys, struct perf_event_attr *attr, pid_t pid, int cpu)
{
	struct fake_kernel *k = (struct fake_kernel *)sys;
	int fd;

	(void)attr, (void)pid;
	if (k->opens_max && k->opens >= k->opens_max)
		return -EMFILE;
	k->opens++;
	fd = eventfd(0, EFD_CLOEXEC);
	if (fd < 0 || fd >= RINGS_MAX * 4)
		return -EMFILE;
	k->cpu_of_fd[fd] = cpu;
	// What it held before is gone, if the set began anew with smaller rings.
	if (cpu == 0)
		k->used = 0;
	return fd;
}

static int fake_map(const struct perf_sys *sys, int fd, size_t len, void **ret)
{
	struct fake_kernel *k = (struct fake_kernel *)sys;

	if (k->used + len > k->quota)
		return -EPERM;
	*ret = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (*ret == MAP_FAILED)
		return -ENOMEM;
	k->used += len;
	k->ring_of_cpu[k->cpu_of_fd[fd]] = *ret;
	k->ring_bytes = len;
	return 0;
}

struct machine {
	struct fake_kernel kernel;
	struct ring_set set;
	char path[64];
};

static int machine_open(struct machine *m, const char *cpus, unsigned pages, size_t memory_max)
{
	struct ring_set_config config = {.pages = pages, .memory_max = memory_max};
	FILE *f;

	snprintf(m->path, sizeof(m->path), "/tmp/test-ring-set-XXXXXX");
	f = fdopen(mkstemp(m->path), "w");
	fputs(cpus, f);
	fclose(f);
	m->kernel.sys = (struct perf_sys){fake_open, fake_map};
	config.sys = &m->kernel.sys;
	config.cpu_path = m->path;
	config.attr.sample_id_all = 1;
	return ring_set_open(&m->set, &config);
}

static void machine_close(struct machine *m)
{
	ring_set_close(&m->set);
	unlink(m->path);
	free(m);
}

static struct machine *new_machine(size_t quota)
{
	struct machine *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->kernel.quota = quota;
	return m;
}

static void ring_set__many_cpus_share_the_cap(void **state)
{
	struct machine *m = new_machine(SIZE_MAX / 2);
	int fds = count_fds();

	(void)state;
	if (perf_open_raise_nofile() < 1100)
		test_skip("the hard limit of open files is below 1100");
	assert_ok(machine_open(m, "0-1023\n", 64, 16 << 20));
	assert_int_equal(m->set.cpus.len, 1024);
	assert_int_equal(m->set.pages, 2);
	assert_true(ring_set_memory(&m->set) <= 16 << 20);
	assert_int_equal(ring_set_fds(&m->set), 1024);
	machine_close(m);
	assert_int_equal(count_fds(), fds);
	// Fewer CPUs than memory: what was asked for.
	m = new_machine(SIZE_MAX / 2);
	assert_ok(machine_open(m, "0,2,4-5", 64, 16 << 20));
	assert_int_equal(m->set.pages, 64);
	assert_int_equal(ring_set_memory(&m->set), 4 * 65 * 4096);
	machine_close(m);
}

/* perf_event_mlock_kb leaves room for 40 pages: all four CPUs get the same eight. */
static void ring_set__memory_limit_shrinks_all_alike(void **state)
{
	struct machine *m = new_machine(40 * 4096);

	(void)state;
	assert_ok(machine_open(m, "0-3", 64, 16 << 20));
	assert_int_equal(m->set.cpus.len, 4);
	assert_int_equal(m->set.pages, 8);
	vec_foreach (c, &m->set.cpus)
		assert_int_equal(c->ring.size, 8 * 4096);
	// A quarter of what there is, not of what was wished for.
	assert_int_equal(m->set.attr.wakeup_watermark, 2 * 4096);
	machine_close(m);
}

static void ring_set__no_memory_at_all(void **state)
{
	struct machine *m = new_machine(4096);
	int fds = count_fds();
	char why[CAPTURE_WHY];

	(void)state;
	assert_int_equal(machine_open(m, "0-3", 64, 16 << 20), -ENOBUFS);
	assert_int_equal(ring_set_explain(-ENOBUFS, "side band", false, why, sizeof(why)), -EPERM);
	assert_non_null(strstr(why, "perf_event_mlock_kb"));
	assert_int_equal(count_fds(), fds);
	machine_close(m);
}

static void ring_set__few_descriptors_say_what_is_not_seen(void **state)
{
	struct machine *m = new_machine(SIZE_MAX / 2);
	struct buf text = BUF_INIT(1024);

	(void)state;
	m->kernel.opens_max = 3;
	assert_ok(machine_open(m, "0-4", 4, 16 << 20));
	assert_int_equal(m->set.cpus.len, 3);
	assert_int_equal(m->set.cpus_failed, 2);
	ring_set_describe(&m->set, "side band", &text);
	assert_non_null(strstr(buf_str(&text), "no event on 2 of 5 CPUs (Too many open files)"));
	buf_deinit(&text);
	machine_close(m);
}

struct taken {
	uint32_t cpus[16];
	uint64_t values[16];
	size_t n, came, went;
	int error;
};

static int take(void *arg, uint32_t cpu, const struct perf_event_header *h)
{
	struct taken *t = arg;

	t->cpus[t->n] = cpu;
	t->values[t->n++] = *(const uint64_t *)(h + 1);
	return t->error;
}

static int take_cpu(void *arg, uint32_t cpu, bool came)
{
	struct taken *t = arg;

	(void)cpu;
	*(came ? &t->came : &t->went) += 1;
	return 0;
}

static void ring_write(struct machine *m, uint32_t cpu, uint64_t value)
{
	struct perf_event_mmap_page *page = (void *)m->kernel.ring_of_cpu[cpu];
	struct {
		struct perf_event_header h;
		uint64_t value;
	} record = {{.type = 9, .size = sizeof(record)}, value};

	memcpy((uint8_t *)page + 4096 + page->data_head % 4096, &record, sizeof(record));
	page->data_head += sizeof(record);
}

static void ring_set__drains_every_ring_and_follows_cpus(void **state)
{
	struct machine *m = new_machine(SIZE_MAX / 2);
	struct taken t = {0};
	FILE *f;

	(void)state;
	assert_ok(machine_open(m, "1,5", 1, 16 << 20));
	ring_write(m, 5, 50);
	ring_write(m, 1, 10);
	ring_write(m, 5, 51);
	assert_ok(ring_set_drain(&m->set, take, &t));
	assert_int_equal(t.n, 3);
	assert_int_equal(t.cpus[0], 1);
	assert_int_equal(t.values[0], 10);
	assert_int_equal(t.cpus[2], 5);
	assert_int_equal(t.values[2], 51);
	// An error ends the pass; what was not read comes next time.
	ring_write(m, 1, 11);
	ring_write(m, 1, 12);
	t.error = -EIO;
	assert_int_equal(ring_set_drain(&m->set, take, &t), -EIO);
	assert_int_equal(t.values[3], 11);
	t.error = 0;
	assert_ok(ring_set_drain(&m->set, take, &t));
	assert_int_equal(t.n, 5);
	assert_int_equal(t.values[4], 12);
	// CPU 5 goes, with a record still in its ring; 7 comes.
	ring_write(m, 5, 52);
	f = fopen(m->path, "we");
	fputs("1,7\n", f);
	fclose(f);
	assert_ok(ring_set_recheck(&m->set, 1000, take, take_cpu, &t));
	assert_int_equal(t.n, 5);
	assert_ok(ring_set_recheck(&m->set, 1000 + RING_SET_RECHECK_NS, take, take_cpu, &t));
	assert_int_equal(t.values[5], 52);
	assert_int_equal(t.came, 1);
	assert_int_equal(t.went, 1);
	ring_write(m, 7, 70);
	assert_ok(ring_set_drain(&m->set, take, &t));
	assert_int_equal(t.values[6], 70);
	assert_int_equal(t.n, 7);
	machine_close(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ring_set__many_cpus_share_the_cap),
		cmocka_unit_test(ring_set__memory_limit_shrinks_all_alike),
		cmocka_unit_test(ring_set__no_memory_at_all),
		cmocka_unit_test(ring_set__few_descriptors_say_what_is_not_seen),
		cmocka_unit_test(ring_set__drains_every_ring_and_follows_cpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
