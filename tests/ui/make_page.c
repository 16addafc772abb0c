/* SPDX-License-Identifier: Apache-2.0 */
/* make_page -- writes pages of synthetic profiles, for the tests of the page in a browser.
 *
 *   make_page KIND OUT.html [OUT.col [OUT.times]]
 * KIND: small (known truth), hostile, empty, one, tiny, huge (200,000 frames), folded (over
 * its budget), million, deep, wide,
 * bytes, compare, small-second (the other side of compare), short (1.2 s, one process). The optional second file is the same profile as collapsed text with
 * contexts, the oracle of the browser tests: "container;process/pid;thread/tid;frames count". The third one is
 * the same by slots of time: "slot;stack count", the first line "slots microseconds". */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "export/export.h"
#include "export/html.h"
#include "export/html_compare.h"

#define STACK_MAX 6000

struct maker {
	struct profile p;
	uint64_t random;
	uint64_t now, step_ns; // the time of the next part of a sample; 0: no times
	unsigned parts; // a sample comes in as many, one after the other
};

static void die(const char *what, int r)
{
	fprintf(stderr, "make_page: %s: %s\n", what, strerror(-r));
	exit(1);
}

/* xorshift64*, seeded the same in every run. */
static uint32_t pick(struct maker *m, uint32_t n)
{
	m->random ^= m->random >> 12;
	m->random ^= m->random << 25;
	m->random ^= m->random >> 27;
	return n ? (uint32_t)((m->random * 0x2545f4914f6cdd1dull >> 32) % n) : 0;
}

static uint32_t text(struct maker *m, const char *s)
{
	uint32_t id;
	int r = profile_string(&m->p, s, &id);

	if (r)
		die("string", r);
	return id;
}

static void add_value(struct maker *m, const char *type, const char *unit)
{
	m->p.types[m->p.ntypes++] = (struct profile_value_type){text(m, type), text(m, unit)};
}

static uint32_t frame(struct maker *m, const char *name, enum profile_frame_kind kind,
	const char *module, unsigned flags)
{
	struct profile_frame f = {.name = text(m, name),
		.module = module ? text(m, module) : 0,
		.kind = (uint16_t)kind,
		.flags = (uint16_t)flags};
	uint32_t id;
	int r = profile_frame(&m->p, &f, &id);

	if (r)
		die("frame", r);
	return id;
}

static uint32_t context(struct maker *m, const char *container, const char *comm, uint32_t pid,
	const char *thread, uint32_t tid)
{
	struct profile_context c = {.pid = pid,
		.tid = tid,
		.comm = text(m, comm),
		.thread_comm = text(m, thread),
		.container = container ? text(m, container) : 0,
		.uid = pid + 7};
	uint32_t id;
	int r = profile_context(&m->p, &c, &id);

	if (r)
		die("context", r);
	return id;
}

static void sample(struct maker *m, uint32_t context_id, const uint32_t *frames, size_t n,
	const int64_t *values)
{
	uint32_t node = 0;
	int r = 0;

	for (size_t i = 0; !r && i < n; i++)
		r = profile_node(&m->p, node, frames[i], &node);
	if (!r)
		r = profile_add(&m->p, context_id, node, values);
	for (unsigned i = 0; !r && m->step_ns && i < m->parts; i++) {
		int64_t count = values[0] / m->parts + (i < values[0] % m->parts);

		if (count)
			r = timeline_add(&m->p.timeline, profile_sample_id(&m->p, context_id, node),
				m->now, (uint64_t)count);
		m->now += m->step_ns;
	}
	if (r)
		die("sample", r);
}

static void start(struct maker *m, size_t cap)
{
	*m = (struct maker){.random = 0x9e3779b97f4a7c15ull,
		.now = 40000000,
		.step_ns = 100000000,
		.parts = 10};
	profile_init(&m->p, cap, 256 << 20);
	m->p.meta.start_real_ns = 1790000000ull * 1000000000ull;
	m->p.meta.duration_ns = 10ull * 1000000000ull;
	m->p.meta.frequency = 99;
	m->p.meta.period = 10101010;
	m->p.meta.event = text(m, "cpu-clock");
	m->p.meta.hostname = text(m, "test-host");
	m->p.meta.source = text(m, "bpf");
}

/* A ledger in which `broken` of 1000 stacks are broken and the samples add up. */
static void ledger(struct maker *m, unsigned broken)
{
	struct profile_ledger *l = &m->p.meta.ledger;
	int64_t sum = 0;

	vec_foreach (s, &m->p.samples)
		sum += s->values[0];
	m->p.meta.has_ledger = true;
	l->broken = (uint64_t)sum * broken / 1000;
	l->broken_reasons[3] = l->broken;
	l->kernel_only = (uint64_t)sum / 20;
	l->complete = (uint64_t)sum - l->broken - l->kernel_only;
	l->idle = (uint64_t)sum / 3;
	l->entries = (uint64_t)sum + l->idle;
	l->expected = l->entries + (uint64_t)sum / 200;
	l->not_delivered = l->expected - l->entries;
	l->frames = (uint64_t)sum * 20;
	l->frames_unnamed = l->frames / 500;
}

/* Three call paths of 70, 20, 10 %, recursion a -> b -> a, contexts of every kind. */
static void make_small(struct maker *m, int64_t scale, bool second)
{
	uint32_t main_f = frame(m, "main", PROFILE_FRAME_NATIVE, "/usr/bin/app", 0);
	uint32_t a = frame(m, "alpha", PROFILE_FRAME_NATIVE, "/usr/bin/app", 0);
	uint32_t b =
		frame(m, "beta", PROFILE_FRAME_CPP, "/usr/lib/libbeta.so", PROFILE_FRAME_BY_FP);
	uint32_t in =
		frame(m, "inner", PROFILE_FRAME_CPP, "/usr/lib/libbeta.so", PROFILE_FRAME_INLINED);
	uint32_t py = frame(m, "handler (/srv/app.py:10)", PROFILE_FRAME_PYTHON, NULL, 0);
	uint32_t k = frame(m, "do_syscall_64", PROFILE_FRAME_KERNEL, "[kernel.kallsyms]", 0);
	uint32_t u = frame(m, "(/opt/closed.so)", PROFILE_FRAME_UNKNOWN, "/opt/closed.so",
		PROFILE_FRAME_NO_SYMBOL);
	uint32_t rs = frame(m, "core::iter::Iterator::next", PROFILE_FRAME_RUST, "/usr/bin/r", 0);
	uint32_t c1 = context(m, NULL, "app", 100, "app", 100);
	uint32_t c2 = context(m, NULL, "app", 100, "worker", 101);
	uint32_t c3 = context(m, "web-1", "nginx", 200, "nginx", 200);
	uint32_t c4 = context(m, "web-1", "python3", 300, "python3", 300);
	uint32_t c5 = context(m, NULL, "app", 150, "app", 150);

	sample(m, c1, (uint32_t[]){main_f, a}, 2, (int64_t[]){70 * scale});
	sample(m, c1, (uint32_t[]){main_f, a, b, in}, 4, (int64_t[]){15 * scale});
	sample(m, c1, (uint32_t[]){main_f, a, b, a}, 4, (int64_t[]){5 * scale});
	sample(m, c2, (uint32_t[]){main_f, b, b, b, k}, 5, (int64_t[]){20 * scale});
	sample(m, c3, (uint32_t[]){main_f, k}, 2, (int64_t[]){30 * scale});
	sample(m, c3, (uint32_t[]){u, b}, 2, (int64_t[]){(second ? 40 : 10) * scale});
	sample(m, c4, (uint32_t[]){main_f, py, a, k}, 4, (int64_t[]){12 * scale});
	sample(m, c5, (uint32_t[]){main_f, second ? py : rs, k}, 3, (int64_t[]){3 * scale});
	sample(m, c4, (uint32_t[]){0}, 0, (int64_t[]){5 * scale});
}

static void make_hostile(struct maker *m)
{
	static const char *const names[] = {
		"</script><script>window.pwned=1</script>",
		"<!--<script>window.pwned=2</script>",
		"<img src=x onerror=window.pwned=3>",
		"\"'><svg onload=window.pwned=4>",
		"line\xe2\x80\xa8separator\xe2\x80\xa9here",
		"right\xe2\x80\xaeto left\xe2\x81\xa6isolate",
		"bad \xff\xfe\xc3( utf-8 \xed\xa0\x80",
		"bell\x07 escape\x1b[31m tab\tnew\nline",
		"javascript:window.pwned=5",
		"{{constructor.constructor('window.pwned=6')()}}",
		"]]>&amp;<![CDATA[",
		"=HYPERLINK(\"http://example.invalid\")",
		"",
		" ",
		"\xf0\x9f\x94\xa5 fire \xe4\xb8\xad\xe6\x96\x87 name",
		"__proto__",
		"constructor",
	};
	static char huge[65537];
	uint32_t frames[ARRAY_SIZE(names) + 1];

	memset(huge, 'W', sizeof(huge) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		frames[i] =
			frame(m, names[i], (enum profile_frame_kind)(i % PROFILE_FRAME_KIND_MAX),
				names[(i + 1) % ARRAY_SIZE(names)], 0);
	frames[ARRAY_SIZE(names)] = frame(m, huge, PROFILE_FRAME_CPP, huge, 0);
	for (size_t i = 0; i <= ARRAY_SIZE(names); i++) {
		uint32_t c = context(m, names[i % ARRAY_SIZE(names)], names[i % ARRAY_SIZE(names)],
			(uint32_t)i + 1, names[(i + 2) % ARRAY_SIZE(names)], (uint32_t)i + 1);

		sample(m, c, frames, i + 1, (int64_t[]){(int64_t)i + 10});
		sample(m, c, &frames[i], 1, (int64_t[]){40});
	}
	m->p.meta.hostname = text(m, "<b>host</b></title><script>window.pwned=7</script>");
	m->p.meta.event = text(m, "<script>window.pwned=8</script>");
	m->p.meta.command = text(m, "</script><!--");
}

/* Random stacks over `nnames` names: about four nodes a stack, depth around 36. */
static void make_random(struct maker *m, uint32_t want_nodes, uint32_t nnames)
{
	static const struct {
		enum profile_frame_kind kind;
		const char *form, *module;
	} kinds[] = {
		{PROFILE_FRAME_NATIVE, "do_work_%u", "/usr/lib/x86_64-linux-gnu/libc.so.6"},
		{PROFILE_FRAME_CPP,
			"std::vector<ns%u::Thing, std::allocator<ns%u::Thing> >::push_back(ns%u::Thing const&)",
			"/usr/lib/libstdc++.so.6"},
		{PROFILE_FRAME_KERNEL, "ksym_%u_handler", "[kernel.kallsyms]"},
		{PROFILE_FRAME_PYTHON, "method_%u (/srv/app/module%u.py:%u)", NULL},
		{PROFILE_FRAME_GO, "github.com/acme/pkg%u.(*Server).Handle%u", "/usr/bin/gosrv"},
		{PROFILE_FRAME_RUST, "tokio::runtime::task%u::poll<%u>", "/usr/bin/rsrv"},
		{PROFILE_FRAME_JAVA, "com/acme/service%u/Handler.call%u(Ljava/lang/Object|)V",
			NULL},
	};
	uint32_t *frames = calloc(nnames, sizeof(*frames)), stack[80], names[80], contexts[40];
	char name[256];

	m->parts = 1;
	m->step_ns = 700000;
	for (uint32_t i = 0; i < nnames; i++) {
		size_t k = pick(m, 100) < 70 ? pick(m, 2) : pick(m, ARRAY_SIZE(kinds));

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(name, sizeof(name), kinds[k].form, i, i * 7, i % 900);
#pragma GCC diagnostic pop
		frames[i] = frame(m, name, kinds[k].kind, kinds[k].module, 0);
	}
	for (uint32_t i = 0; i < ARRAY_SIZE(contexts); i++) {
		char comm[32], thread[32];

		snprintf(comm, sizeof(comm), "service-%u", i / 4);
		snprintf(thread, sizeof(thread), "worker-%u", i % 4);
		contexts[i] = context(
			m, i % 3 ? NULL : "container-a", comm, 1000 + i / 4, thread, 2000 + i);
	}
	for (uint32_t depth = 0; m->p.nodes.len < want_nodes;) {
		uint32_t who = pick(m, pick(m, 40) + 1);
		// Keep a part of the last stack: neighbours share their callers.
		uint32_t keep = depth ? pick(m, depth) : 0;
		uint32_t at = who / 4 * 37;

		keep = pick(m, 4) ? MAX(keep, depth > 8 ? depth - 8 : 0) : 0;
		depth = keep + 1 + pick(m, 9);
		if (depth > 69)
			depth = 20 + pick(m, 30);
		// A function calls a few others, the first of them most often.
		for (uint32_t i = MIN(keep, depth); i < depth; i++) {
			// A million frames by the usual ways would take millions of samples.
			bool usual = pick(m, i < 16 && want_nodes < 1000000 ? 14 : 3) != 0;
			uint32_t choice = usual ? 0 : MIN(pick(m, 9), pick(m, 9));

			at = ((i ? names[i - 1] : at) * 31 + choice * 7 + 1) % nnames;
			names[i] = at;
			stack[i] = frames[at];
		}
		sample(m, contexts[who], stack, depth, (int64_t[]){1 + pick(m, 20)});
	}
	free(frames);
}

static void make_deep(struct maker *m)
{
	static uint32_t stack[STACK_MAX];
	uint32_t c = context(m, NULL, "deep", 1, "deep", 1);
	char name[32];

	for (uint32_t i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "level_%u", i);
		stack[i] = frame(m, name, PROFILE_FRAME_NATIVE, "/usr/bin/deep", 0);
	}
	sample(m, c, stack, 5000, (int64_t[]){100});
	sample(m, c, stack, 100, (int64_t[]){50});
}

static void make_wide(struct maker *m)
{
	uint32_t c = context(m, NULL, "wide", 1, "wide", 1), stack[2];
	char name[32];

	stack[0] = frame(m, "dispatch", PROFILE_FRAME_NATIVE, "/usr/bin/wide", 0);
	for (uint32_t i = 0; i < 20000; i++) {
		snprintf(name, sizeof(name), "leaf_%05u", i);
		stack[1] = frame(m, name, PROFILE_FRAME_NATIVE, "/usr/bin/wide", 0);
		sample(m, c, stack, 2, (int64_t[]){1 + (i == 777) * 500});
	}
}

static void make_bytes(struct maker *m)
{
	uint32_t c = context(m, NULL, "leaky", 5, "leaky", 5), stack[3];

	stack[0] = frame(m, "main", PROFILE_FRAME_NATIVE, "/usr/bin/leaky", 0);
	stack[1] = frame(m, "load", PROFILE_FRAME_NATIVE, "/usr/bin/leaky", 0);
	stack[2] = frame(m, "malloc", PROFILE_FRAME_NATIVE, "/usr/lib/libc.so.6", 0);
	sample(m, c, stack, 3, (int64_t[]){3 << 20, 1000});
	stack[1] = frame(m, "release", PROFILE_FRAME_NATIVE, "/usr/bin/leaky", 0);
	sample(m, c, stack, 3, (int64_t[]){-(1 << 20), -400});
}

static void write_stack(FILE *f, const struct profile *p, const struct profile_sample *s)
{
	static uint32_t frames[STACK_MAX];
	const struct profile_context *c = profile_context_get(p, s->context);
	size_t n = profile_stack(p, s->node, frames, STACK_MAX);

	fprintf(f, "%s;%s/%u;%s/%u", profile_text(p, c->container), profile_text(p, c->comm),
		c->pid, profile_text(p, c->thread_comm), c->tid);
	for (size_t i = 0; i < MIN(n, (size_t)STACK_MAX); i++)
		fprintf(f, ";%s|%u", profile_text(p, profile_frame_get(p, frames[i])->name),
			profile_frame_get(p, frames[i])->kind);
}

/* The same profile as text, for the oracle. */
static void write_oracle(const struct profile *p, const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "we");

	if (!f)
		die(path, -errno);
	vec_foreach (s, &p->samples) {
		write_stack(f, p, s);
		fprintf(f, " %" PRId64 "\n", s->values[0]);
	}
}

static void write_times(const struct profile *p, const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "we");

	if (!f)
		die(path, -errno);
	fprintf(f, "%u %" PRIu64 "\n", timeline_slots(&p->timeline), p->timeline.slot_ns / 1000);
	vec_foreach (c, &p->timeline.counts) {
		fprintf(f, "%u;", c->slot);
		write_stack(f, p, &p->samples.data[c->sample - 1]);
		fprintf(f, " %u\n", c->count);
	}
}

/* Work that changes: a second of loading, then serving, at the end a burst of the collector. */
static void make_short(struct maker *m)
{
	uint32_t main_f = frame(m, "main", PROFILE_FRAME_NATIVE, "/usr/bin/app", 0);
	uint32_t load = frame(m, "load", PROFILE_FRAME_CPP, "/usr/bin/app", 0);
	uint32_t serve = frame(m, "serve", PROFILE_FRAME_CPP, "/usr/bin/app", 0);
	uint32_t gc = frame(m, "collect", PROFILE_FRAME_JIT, NULL, 0);
	uint32_t one = context(m, NULL, "app", 7, "app", 7);
	uint32_t two = context(m, NULL, "app", 7, "gc", 8);

	m->parts = 1;
	m->step_ns = 10000000;
	for (int i = 0; i < 120; i++) {
		uint32_t work = i < 60 || i % 30 < 10 ? load : serve;

		sample(m, i < 110 ? one : two, (uint32_t[]){main_f, i < 110 ? work : gc}, 2,
			(int64_t[]){i < 110 ? 1 : 3});
	}
}

static void make(struct maker *m, const char *kind)
{
	start(m, 2500000);
	if (strcmp(kind, "bytes") == 0) {
		m->step_ns = 0;
		add_value(m, "alloc_space", "bytes");
		add_value(m, "alloc_objects", "count");
	} else {
		add_value(m, "samples", "count");
	}
	if (strcmp(kind, "small") == 0)
		make_small(m, 10, false);
	else if (strcmp(kind, "small-second") == 0)
		make_small(m, 10, true);
	else if (strcmp(kind, "short") == 0)
		make_short(m);
	else if (strcmp(kind, "hostile") == 0)
		make_hostile(m);
	else if (strcmp(kind, "one") == 0)
		sample(m, context(m, NULL, "solo", 9, "solo", 9),
			(uint32_t[]){frame(m, "only", PROFILE_FRAME_GO, NULL, 0)}, 1,
			(int64_t[]){1});
	else if (strcmp(kind, "tiny") == 0)
		make_random(m, 60, 20);
	else if (strcmp(kind, "huge") == 0)
		make_random(m, 59000, 15864);
	else if (strcmp(kind, "folded") == 0)
		make_random(m, 30000, 15864);
	else if (strcmp(kind, "million") == 0)
		make_random(m, 1000000, 40000);
	else if (strcmp(kind, "deep") == 0)
		make_deep(m);
	else if (strcmp(kind, "wide") == 0)
		make_wide(m);
	else if (strcmp(kind, "bytes") == 0)
		make_bytes(m);
	else if (strcmp(kind, "empty") != 0)
		die(kind, -EINVAL);
	ledger(m, strncmp(kind, "small", 5) == 0 ? 8 : 80);
	m->p.meta.duration_ns = MAX(m->p.meta.duration_ns, m->now);
}

static int make_compare(const char *path, bool swapped)
{
	struct maker m[2];
	struct profile merged;
	_cleanup_fclose_ FILE *f = fopen(path, "we");
	int r;

	if (!f)
		die(path, -errno);
	for (int i = 0; i < 2; i++) {
		start(&m[i], 10000);
		add_value(&m[i], "samples", "count");
		make_small(&m[i], 10, i == 1);
		ledger(&m[i], 8);
	}
	profile_init(&merged, 20000, 1 << 20);
	r = html_compare_merge(&merged, &m[swapped].p, &m[!swapped].p);
	if (!r)
		r = html_compare_write(f, &merged, &m[swapped].p, &m[!swapped].p);
	if (r)
		die("compare", r);
	profile_deinit(&merged);
	profile_deinit(&m[0].p);
	profile_deinit(&m[1].p);
	return 0;
}

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* CPU of the tree alone and of what the page takes beyond it, for the bench. */
static int time_page(const char *path)
{
	struct maker m;
	struct html_tree t;
	_cleanup_fclose_ FILE *f = fopen(path, "we");
	double start_ms, tree_ms;

	if (!f)
		die(path, -errno);
	make(&m, "huge");
	start_ms = cpu_ms();
	if (html_tree_init(&t, &m.p, &(struct html_tree_options){0}))
		die("tree", -ENOMEM);
	html_tree_deinit(&t);
	tree_ms = cpu_ms() - start_ms;
	start_ms = cpu_ms();
	if (export_html(f, &m.p))
		die("html", -EIO);
	printf("tree %.1f ms, page %.1f ms\n", tree_ms, cpu_ms() - start_ms - tree_ms);
	profile_deinit(&m.p);
	return 0;
}

int main(int argc, char **argv)
{
	struct html_options options = {0};
	struct maker m;
	_cleanup_fclose_ FILE *f = NULL;
	int r;

	if (argc == 3 && strcmp(argv[1], "compare") == 0)
		return make_compare(argv[2], false);
	if (argc == 3 && strcmp(argv[1], "compare-swapped") == 0)
		return make_compare(argv[2], true);
	if (argc == 3 && strcmp(argv[1], "time") == 0)
		return time_page(argv[2]);
	if (argc < 3)
		die("usage: make_page KIND OUT.html [OUT.col]", -EINVAL);
	f = fopen(argv[2], "we");
	if (!f)
		die(argv[2], -errno);
	make(&m, argv[1]);
	// Past the budget on purpose: the browser must cope with more than the writer would give it.
	if (strcmp(argv[1], "million") == 0)
		options.budget = 2000000;
	else if (strcmp(argv[1], "folded") == 0)
		options.budget = 20000;
	r = html_write(f, &m.p, &options);
	if (r)
		die("html", r);
	if (argc > 3)
		write_oracle(&m.p, argv[3]);
	if (argc > 4)
		write_times(&m.p, argv[4]);
	profile_deinit(&m.p);
	return 0;
}
