/* SPDX-License-Identifier: Apache-2.0 */
/* The probe: from verdicts to a rung, and what is read from files, on fixtures this machine cannot
 * show. */
#include "tests/harness.h"

#include <ftw.h>
#include <unistd.h>

#include "base/fs.h"
#include "capture/probe.h"
#include "capture/probe_facts.h"

#define MOUNT(point, type) "36 35 0:30 / " point " rw,nosuid - " type " none rw\n"

static char root[64];

static int make_root(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), "/tmp/gp-test-probe-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int remove_root(void **state)
{
	(void)state;
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void fixture(const char *path, const void *text, size_t len)
{
	char full[256];
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", root, path);
	assert_ok(fs_mkdir_parents(full, 0755));
	f = fopen(full, "w");
	assert_non_null(f);
	fwrite(text, 1, len, f);
	assert_ok(fclose(f));
}

static void fixture_text(const char *path, const char *text)
{
	fixture(path, text, strlen(text));
}

static struct probe_fact ask(probe_fn fn)
{
	struct probe_fact f = {0};

	fn(root, &f);
	// Whatever is limited or missing says what it costs and what to do.
	if (f.verdict >= PROBE_LIMITED) {
		assert_true(*f.consequence);
		assert_true(*f.remedy);
	}
	assert_true(*f.value);
	return f;
}

static void assert_fact(probe_fn fn, enum probe_verdict verdict, const char *part)
{
	struct probe_fact f = ask(fn);

	if (f.verdict != verdict || !strstr(f.value, part))
		fail_msg("%s: '%s', expected %s: '%s'", probe_verdict_name(f.verdict), f.value,
			probe_verdict_name(verdict), part);
}

static struct probe_report all_ok(void)
{
	return (struct probe_report){0}; // PROBE_OK is 0
}

static void judge__each_rung_and_its_obstacle(void **state)
{
	struct probe_report r = all_ok();

	(void)state;
	probe_judge(&r);
	assert_int_equal(r.rung, PROBE_RUNG_BPF);
	assert_int_equal(r.obstacle, -1);

	// What is limited or noted does not cost a rung; what the rung does not need neither.
	r.facts[PROBE_PERF_SYSTEM].verdict = PROBE_LIMITED;
	r.facts[PROBE_PERF_CYCLES].verdict = PROBE_NOTE;
	r.facts[PROBE_KALLSYMS].verdict = PROBE_MISSING;
	r.facts[PROBE_READ_OTHER].verdict = PROBE_MISSING;
	probe_judge(&r);
	assert_int_equal(r.rung, PROBE_RUNG_BPF);

	static const enum probe_id bpf[] = {
		PROBE_BPF_LOAD, PROBE_BPF_RINGBUF, PROBE_BTF, PROBE_BPF_ATTACH};

	for (size_t i = 0; i < ARRAY_SIZE(bpf); i++) {
		r = all_ok();
		r.facts[bpf[i]].verdict = PROBE_MISSING;
		probe_judge(&r);
		assert_int_equal(r.rung, PROBE_RUNG_RING);
		assert_int_equal(r.obstacle, bpf[i]);
	}
	r = all_ok();
	r.facts[PROBE_PERF_SYSTEM].verdict = PROBE_MISSING;
	probe_judge(&r);
	assert_int_equal(r.rung, PROBE_RUNG_RING_OWN);
	assert_int_equal(r.obstacle, PROBE_PERF_SYSTEM);
	r.facts[PROBE_PERF_RING].verdict = PROBE_MISSING;
	probe_judge(&r);
	assert_int_equal(r.rung, PROBE_RUNG_READER);
	assert_int_equal(r.obstacle, PROBE_PERF_RING);
	r.facts[PROBE_READ_OWN].verdict = PROBE_MISSING;
	probe_judge(&r);
	assert_int_equal(r.rung, PROBE_RUNG_READER);
	r.facts[PROBE_READ_OTHER].verdict = PROBE_MISSING;
	probe_judge(&r);
	assert_int_equal(r.rung, PROBE_RUNG_NONE);
	assert_int_equal(r.obstacle, PROBE_READ_OWN);
}

static void read__perf_event_paranoid(void **state)
{
	static const char path[] = "/proc/sys/kernel/perf_event_paranoid";

	(void)state;
	assert_fact(probe_perf_paranoid, PROBE_NOTE, "not known");
	fixture_text(path, "4\n");
	assert_fact(probe_perf_paranoid, PROBE_LIMITED, "4, set by the distribution");
	fixture_text(path, "2\n");
	assert_fact(probe_perf_paranoid, PROBE_NOTE, "own processes in user mode only");
	fixture_text(path, "-1\n");
	assert_fact(probe_perf_paranoid, PROBE_OK, "no restriction");
	fixture_text(path, "odd\n");
	assert_fact(probe_perf_paranoid, PROBE_NOTE, "not known");
	fixture_text("/proc/sys/kernel/perf_event_mlock_kb", "16\n");
	assert_fact(probe_perf_mlock, PROBE_LIMITED, "16 kB");
}

static void read__kernel_symbols(void **state)
{
	(void)state;
	assert_fact(probe_kallsyms, PROBE_MISSING, "/proc/kallsyms");
	fixture_text("/proc/kallsyms", "0000000000000000 T _stext\n0000000000000000 T _text\n");
	fixture_text("/proc/sys/kernel/kptr_restrict", "2\n");
	assert_fact(probe_kallsyms, PROBE_MISSING, "hidden (kptr_restrict 2)");
	assert_non_null(strstr(ask(probe_kallsyms).remedy, "kptr_restrict=1"));
	// The first may be a per-CPU symbol at zero.
	fixture_text("/proc/kallsyms", "0000000000000000 A x\nffffffff81000000 T _text\n");
	assert_fact(probe_kallsyms, PROBE_OK, "shown");
}

static void read__cgroup_versions(void **state)
{
	static const char path[] = "/proc/self/mountinfo";

	(void)state;
	assert_fact(probe_cgroup, PROBE_LIMITED, "none");
	fixture_text(path, MOUNT("/sys/fs/cgroup", "cgroup2"));
	assert_fact(probe_cgroup, PROBE_OK, "v2 at /sys/fs/cgroup");
	fixture_text(path, MOUNT("/", "ext4") MOUNT("/c/cpu", "cgroup") MOUNT("/c/mem", "cgroup"));
	assert_fact(probe_cgroup, PROBE_OK, "v1, 2 hierarchies");
	fixture_text(path, MOUNT("/c/unified", "cgroup2") MOUNT("/c/cpu", "cgroup"));
	assert_fact(probe_cgroup, PROBE_OK, "hybrid: v2 at /c/unified and 1 of v1");
	fixture_text(path, "- - -\n - cgroup2\n1 2 3 4\n\n1 2 3 4 5 6 -");
	assert_fact(probe_cgroup, PROBE_LIMITED, "none");
}

static void read__lockdown_psi_seccomp_btf(void **state)
{
	static const unsigned char btf[] = {0x9f, 0xeb, 1, 0};

	(void)state;
	assert_fact(probe_lockdown, PROBE_OK, "not in force");
	fixture_text("/sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
	assert_fact(probe_lockdown, PROBE_OK, "[integrity]");
	fixture_text("/sys/kernel/security/lockdown", "none integrity [confidentiality]\n");
	assert_fact(probe_lockdown, PROBE_LIMITED, "confidentiality");

	assert_fact(probe_psi, PROBE_NOTE, "absent");
	fixture_text("/proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
	assert_fact(probe_psi, PROBE_OK, "there");

	assert_fact(probe_seccomp, PROBE_NOTE, "not known");
	fixture_text("/proc/self/status", "Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t0\n");
	assert_fact(probe_seccomp, PROBE_OK, "no filter");
	fixture_text("/proc/self/status", "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n");
	assert_fact(probe_seccomp, PROBE_NOTE, "a filter is on");

	assert_fact(probe_btf, PROBE_MISSING, "No such file");
	fixture("/sys/kernel/btf/vmlinux", "odd", 3);
	assert_fact(probe_btf, PROBE_MISSING, "no type information");
	fixture("/sys/kernel/btf/vmlinux", btf, sizeof(btf));
	assert_fact(probe_btf, PROBE_OK, "of the running kernel");

	fixture_text("/proc/self/ns/pid", "a file, whose inode is not the initial namespace's");
	assert_fact(probe_pidns, PROBE_LIMITED, "not the initial one");
}

/* On whatever machine and as whoever: every fact has its texts, and no descriptor stays open. */
static void run__is_complete_and_leaves_nothing(void **state)
{
	struct probe_report r;
	int before = dup(0), after;

	(void)state;
	close(before);
	probe_run("", &r);
	after = dup(0);
	close(after);
	assert_int_equal(before, after);
	for (unsigned i = 0; i < PROBE_COUNT; i++) {
		const struct probe_fact *f = &r.facts[i];

		assert_true(f->id && strlen(f->id) > 2);
		assert_true(f->name && strlen(f->name) > 2 && strlen(f->name) < 24);
		assert_true(*f->value);
		assert_int_equal(!*f->consequence, !*f->remedy);
		if (f->verdict >= PROBE_LIMITED)
			assert_true(*f->remedy);
		// Nothing was cut off.
		assert_true(strlen(f->consequence) < PROBE_TEXT - 1);
		assert_true(strlen(f->remedy) < PROBE_TEXT - 1);
	}
	assert_true(*probe_rung_text(r.rung));
	assert_int_equal(r.rung == PROBE_RUNG_BPF, r.obstacle == -1);
}

#define WITH_ROOT(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(judge__each_rung_and_its_obstacle),
		WITH_ROOT(read__perf_event_paranoid),
		WITH_ROOT(read__kernel_symbols),
		WITH_ROOT(read__cgroup_versions),
		WITH_ROOT(read__lockdown_psi_seccomp_btf),
		cmocka_unit_test(run__is_complete_and_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
