/* SPDX-License-Identifier: Apache-2.0 */
/* Jitdumps written here record by record, and those of a real Node beside its perf map. */
#include "tests/harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "symbol/jit_files.h"
#include "symbol/jitdump.h"
#include "symbol/perf_map.h"

static void put(struct buf *b, const void *data, size_t n)
{
	assert_ok(buf_append(b, data, n));
}

static void put32(struct buf *b, uint32_t v)
{
	put(b, &v, 4);
}

static void put64(struct buf *b, uint64_t v)
{
	put(b, &v, 8);
}

static void put_header(struct buf *b)
{
	put32(b, 0x4a695444);
	put32(b, 1);
	put32(b, 40);
	put32(b, 62);
	put32(b, 0);
	put32(b, 1);
	put64(b, 0);
	put64(b, 0);
}

static void put_load(struct buf *b, uint64_t addr, const char *name)
{
	put32(b, 0);
	put32(b, (uint32_t)(56 + strlen(name) + 1 + 32));
	put64(b, 7);
	put32(b, 1);
	put32(b, 1);
	put64(b, addr);
	put64(b, addr);
	put64(b, 32);
	put64(b, 0);
	put(b, name, strlen(name) + 1);
	put(b, "01234567890123456789012345678901", 32);
}

static void put_move(struct buf *b, uint64_t from, uint64_t to)
{
	put32(b, 1);
	put32(b, 16 + 48);
	put64(b, 7);
	put64(b, 0);
	put64(b, from);
	put64(b, from);
	put64(b, to);
	put64(b, 32);
	put64(b, 0);
}

static void put_lines(struct buf *b, uint64_t addr, uint64_t bias)
{
	put32(b, 2);
	put32(b, 16 + 16 + 2 * 16 + 6 + 2);
	put64(b, 7);
	put64(b, addr);
	put64(b, 2);
	put64(b, addr + bias);
	put32(b, 10);
	put32(b, 0);
	put(b, "/a.js", 6);
	put64(b, addr + bias + 16);
	put32(b, 12);
	put32(b, 0);
	put(b, "\xff", 2);
}

static void add(const struct jitdump *d, struct buf *b)
{
	lseek(d->fd, 0, SEEK_END);
	assert_ok(fs_write_full(d->fd, b->data, b->len));
	buf_clear(b);
}

static void assert_name(const struct jitdump *d, uint64_t addr, const char *name)
{
	struct buf text = BUF_INIT(4096);
	uint64_t start;
	int r = jitdump_name(d, addr, &text, &start);

	assert_string_equal(r ? "(none)" : buf_str(&text), name);
	buf_deinit(&text);
}

static void jitdump__loads_moves_lines(void **state)
{
	struct buf b = BUF_INIT(65536);
	struct jitdump_line line;
	struct jitdump d;

	(void)state;
	jitdump_init(&d, memfd_create("dump", MFD_CLOEXEC));
	assert_ok(jitdump_update(&d)); // empty yet
	put_header(&b);
	put_lines(&b, 0x1000, 0);
	put_load(&b, 0x1000, "one");
	put_load(&b, 0x2000, "two");
	add(&d, &b);
	assert_ok(jitdump_update(&d));
	assert_name(&d, 0x1000, "one");
	assert_name(&d, 0x101f, "one");
	assert_name(&d, 0x1020, "(none)");
	assert_name(&d, 0x2000, "two");
	assert_ok(jitdump_line(&d, 0x100f, &line));
	assert_int_equal(line.line, 10);
	assert_ok(jitdump_line(&d, 0x1010, &line));
	assert_int_equal(line.line, 12);
	assert_string_equal(line.file, "/a.js");
	assert_int_equal(jitdump_line(&d, 0x2000, &line), -ENOENT);
	put_move(&b, 0x2000, 0x3000);
	put_lines(&b, 0x4000, 0x40); // as V8 writes it
	put_load(&b, 0x4000, "v8");
	b.len -= 10; // still being written
	add(&d, &b);
	assert_ok(jitdump_update(&d));
	assert_name(&d, 0x3010, "two");
	assert_name(&d, 0x4000, "(none)");
	put(&b, "0123456789", 10);
	add(&d, &b);
	assert_ok(jitdump_update(&d));
	assert_name(&d, 0x4000, "v8");
	assert_int_equal(jitdump_line(&d, 0x4011, &line), -ENOENT); // its name has no such file
	put_lines(&b, 0x5000, 0x40);
	put_load(&b, 0x5000, "JS:*f /a.js:10:1");
	add(&d, &b);
	assert_ok(jitdump_update(&d));
	assert_ok(jitdump_line(&d, 0x5011, &line));
	assert_int_equal(line.line, 12);
	jitdump_deinit(&d);
	buf_deinit(&b);
}

static void jitdump__hostile(void **state)
{
	struct buf b = BUF_INIT(65536);
	struct jitdump d;

	(void)state;
	jitdump_init(&d, memfd_create("dump", MFD_CLOEXEC));
	put(&b, "not a jitdump at all, but long enough to be one, is it not?", 59);
	add(&d, &b);
	assert_int_equal(jitdump_update(&d), -EINVAL);
	assert_ok(ftruncate(d.fd, 0));
	put_header(&b);
	put32(&b, 9);
	put32(&b, 3); // shorter than a record's header: no way on
	put64(&b, 0);
	add(&d, &b);
	assert_int_equal(jitdump_update(&d), -EINVAL);
	jitdump_deinit(&d);
	buf_deinit(&b);
}

/* V8 writes its dump through a buffer of 2 MB: code goes on being made, so that it is flushed. */
static const char script[] =
	"function hot(n) { let s = 0; for (let i = 0; i < n; i++) s += i % 7; return s; }\n"
	"for (let k = 2;; k++) {\n"
	"  hot(1000000);\n"
	"  const body = Array.from({length: 100}, (_, i) => `s ^= i % ${i + k};`).join('');\n"
	"  const f = new Function('n', `let s = 0; for (let i = 0; i < n; i++) {${body}} return s;`);\n"
	"  for (let j = 0; j < 4; j++) f(3000);\n"
	"}\n";

static pid_t start_node(const char *dir, const char *option)
{
	char file[96];
	pid_t pid;
	FILE *f;

	snprintf(file, sizeof(file), "%s/hot.js", dir);
	f = fopen(file, "w");
	assert_non_null(f);
	fputs(script, f);
	fclose(f);
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (chdir(dir) || dup2(null, 1) < 0 || dup2(null, 2) < 0)
			_exit(126);
		execlp("node", "node", option, "hot.js", (char *)NULL);
		_exit(127);
	}
	return pid;
}

/* Waits until the resolver knows an optimised "hot", by asking for every address the files name. */
static bool find_hot(struct resolver *r, struct process_table *t, pid_t pid, uint64_t addr,
	struct symbol_query *ret)
{
	struct process *p;

	if (process_table_scan_pid(t, (uint32_t)pid))
		return false;
	p = process_table_find(t, (uint32_t)pid);
	*ret = (struct symbol_query){.space = SYMBOL_PROCESS, .owner = p->uid, .addr = addr};
	assert_ok(resolver_resolve(r, ret, 1));
	return ret->name && strstr(intern_str(&r->strings, ret->name), "hot");
}

static uint64_t hot_in_map(pid_t pid)
{
	struct buf b = BUF_INIT(64 << 20);
	uint64_t addr = 0;
	char path[64];

	snprintf(path, sizeof(path), "/tmp/perf-%d.map", pid);
	if (fs_read_file(path, &b) == 0) {
		char *at = strstr(b.data, "*hot ");

		while (at && at > b.data && at[-1] != '\n')
			at--;
		addr = at ? strtoull(at, NULL, 16) : 0;
	}
	buf_deinit(&b);
	return addr;
}

static uint64_t hot_in_dump(const char *dir, pid_t pid)
{
	struct jitdump d;
	char path[96];
	uint64_t addr = 0;

	snprintf(path, sizeof(path), "%s/jit-%d.dump", dir, pid);
	jitdump_init(&d, open(path, O_RDONLY | O_CLOEXEC));
	jitdump_update(&d);
	vec_foreach (e, &d.index.entries) {
		struct buf b = BUF_INIT(4096);
		uint64_t start;

		if (jitdump_name(&d, e->start, &b, &start) == 0 && strstr(buf_str(&b), "hot "))
			addr = e->start;
		buf_deinit(&b);
	}
	jitdump_deinit(&d);
	return addr;
}

static void node(const char *option, bool dump)
{
	char dir[] = "/tmp/test_jitdump.XXXXXX", path[96];
	struct resolver_config config = {.kallsyms = "/dev/null", .lines = true};
	struct module_table modules;
	struct process_table processes;
	struct symbol_query q;
	struct resolver r;
	uint64_t addr = 0;
	bool found = false;
	pid_t pid;

	if (access("/usr/bin/node", X_OK))
		test_skip("no node");
	assert_non_null(mkdtemp(dir));
	module_table_init(&modules, 1024, 16);
	assert_ok(process_table_init(&processes, &modules, "/proc"));
	assert_ok(resolver_init(&r, &modules, &processes, &config));
	pid = start_node(dir, option);
	for (int i = 0; i < 200 && !found; i++) {
		clock_sleep_ns(50 * NSEC_PER_MSEC);
		addr = dump ? hot_in_dump(dir, pid) : hot_in_map(pid);
		found = addr && find_hot(&r, &processes, pid, addr + 4, &q);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", pid);
	unlink(path);
	snprintf(path, sizeof(path), "%s/jit-%d.dump", dir, pid);
	unlink(path);
	snprintf(path, sizeof(path), "%s/hot.js", dir);
	unlink(path);
	rmdir(dir);
	assert_true(found);
	printf("# %s: %s, %s:%u\n", option, intern_str(&r.strings, q.name),
		intern_str(&r.strings, q.file), q.line);
	assert_int_equal(q.kind, SYMBOL_KIND_JIT);
	assert_int_equal(q.func_start, addr);
	// Held open, they still tell when process and file are gone.
	q.addr = addr + 8;
	assert_ok(resolver_resolve(&r, &q, 1));
	assert_non_null(strstr(intern_str(&r.strings, q.name), "hot"));
	resolver_deinit(&r);
	process_table_deinit(&processes);
	module_table_deinit(&modules);
}

static void node__perf_map(void **state)
{
	(void)state;
	node("--perf-basic-prof", false);
}

static void node__jitdump(void **state)
{
	(void)state;
	node("--perf-prof", true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jitdump__loads_moves_lines),
		cmocka_unit_test(jitdump__hostile),
		cmocka_unit_test(node__perf_map),
		cmocka_unit_test(node__jitdump),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
