/* SPDX-License-Identifier: Apache-2.0 */
/* Screens of gprofiler top: orders, counts, sizes, and names that would give orders to a terminal. */
#include "tests/harness.h"

#include <string.h>

#include "agent/top.h"

#define SECOND 1000000000ull

struct fixture {
	struct profile p;
	struct top_view v;
	struct buf out;
};

static uint32_t frame(struct profile *p, const char *name)
{
	struct profile_frame f = {.kind = PROFILE_FRAME_NATIVE};
	uint32_t id;

	assert_ok(profile_string(p, name, &f.name));
	assert_ok(profile_frame(p, &f, &id));
	return id;
}

/* names: root first, NULL at the end */
static void add(
	struct profile *p, uint32_t pid, const char *comm, const char *const *names, int64_t n)
{
	struct profile_context c = {.pid = pid, .uid = pid, .tid = pid};
	int64_t values[PROFILE_VALUES_MAX] = {n, n * 10000000};
	uint32_t node = 0, context;

	assert_ok(profile_string(p, comm, &c.comm));
	assert_ok(profile_context(p, &c, &context));
	for (; *names; names++)
		assert_ok(profile_node(p, node, frame(p, *names), &node));
	assert_ok(profile_add(p, context, node, values));
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct profile *p = &f->p;

	profile_init(p, 1000, 1 << 16);
	p->ntypes = 2;
	assert_ok(profile_string(p, "nanoseconds", &p->types[1].unit));
	assert_ok(profile_string(p, "cpu-clock", &p->meta.event));
	p->meta.duration_ns = SECOND;
	p->meta.frequency = 100;
	add(p, 1, "one", (const char *const[]){"main", "work", "leaf", NULL}, 30);
	add(p, 1, "one", (const char *const[]){"main", "rec", "rec", "rec", NULL}, 10);
	add(p, 2, "two", (const char *const[]){"main", "work", "leaf", NULL}, 40);
	add(p, 3, "e\033[2Jvil\n",
		(const char *const[]){"\302\233"
				      "31m",
			"\a\r\n;\177", NULL},
		20);
	top_view_init(&f->v);
	f->out = BUF_INIT(1 << 20);
	assert_ok(top_view_take(&f->v, p));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	buf_deinit(&f->out);
	top_view_deinit(&f->v);
	profile_deinit(&f->p);
	free(f);
	return 0;
}

static const char *show(struct fixture *f, struct top_screen screen)
{
	screen.ncpus = 2;
	if (!screen.lines)
		screen.functions = 100;
	buf_clear(&f->out);
	assert_ok(top_view_show(&f->v, &screen, &f->out));
	return buf_str(&f->out);
}

static void assert_before(const char *text, const char *first, const char *second)
{
	const char *rows = strstr(text, "FUNCTION\n");
	const char *a = rows ? strstr(rows, first) : NULL, *b = rows ? strstr(rows, second) : NULL;

	assert_non_null(a);
	assert_non_null(b);
	assert_true(a < b);
}

static void top__counts(void **state)
{
	const char *text = show(*state, (struct top_screen){.order = TOP_BY_SELF});

	assert_non_null(strstr(text, "CPU 100% of 200%"));
	assert_non_null(strstr(text, " 40.0%       1  one\n"));
	// Recursion counts once, and a function of two processes is two rows.
	assert_non_null(strstr(text, " 10.0%   10.0%       1  one              rec\n"));
	assert_non_null(strstr(text, "  0.0%   40.0%       1  one              main\n"));
	assert_non_null(strstr(text, " 40.0%   40.0%       2  two              leaf\n"));
}

static void top__orders(void **state)
{
	const char *text = show(*state, (struct top_screen){.order = TOP_BY_SELF});

	assert_before(text, "two              leaf", "one              leaf");
	assert_before(text, "one              rec", "two              main");
	text = show(*state, (struct top_screen){.order = TOP_BY_TOTAL});
	assert_before(text, "two              main", "one              rec");
	// Both have 40 samples: the one seen first goes first, in one piece.
	text = show(*state, (struct top_screen){.order = TOP_BY_PROCESS});
	assert_before(text, "one              rec", "two              leaf");
	assert_before(text, "two              main", "vil");
	text = show(*state, (struct top_screen){.order = TOP_BY_FUNCTION});
	assert_before(text, "one              leaf", "one              rec");
	assert_before(text, "one              rec", "two              main");
}

static void top__hostile_names_give_no_orders(void **state)
{
	const char *text = show(*state, (struct top_screen){.order = TOP_BY_TOTAL});

	for (const char *c = text; *c; c++)
		assert_true(*c == '\n' || (unsigned char)*c >= 0x20);
	assert_null(strchr(text, 0x7f));
	assert_null(strstr(text, "\302\233"));
	assert_non_null(strstr(text, "e?[2Jvil?"));
}

static void top__every_size(void **state)
{
	for (unsigned order = TOP_BY_SELF; order <= TOP_BY_FUNCTION; order++) {
		for (unsigned i = 1; i < 60 * 90; i++) {
			struct top_screen s = {
				.order = order, .lines = 1 + i % 60, .columns = 1 + i / 60};
			const char *text = show(*state, s);
			unsigned lines = 0;

			for (const char *at = text; *at; lines++) {
				const char *end = strchr(at, '\n');

				assert_non_null(end);
				assert_true((unsigned)(end - at) <= s.columns);
				at = end + 1;
			}
			assert_true(lines >= 1 && lines <= s.lines);
		}
	}
}

static void top__narrow_terminals_show_functions(void **state)
{
	struct top_screen s = {.order = TOP_BY_SELF, .lines = 6, .columns = 20};
	const char *text = show(*state, s);

	assert_non_null(strstr(text, " 40.0% leaf\n"));
	s.order = TOP_BY_PROCESS;
	text = show(*state, s);
	assert_non_null(strstr(text, " 30.0% one leaf\n"));
}

static void top__nothing_sampled(void **state)
{
	struct fixture *f = *state;
	struct profile p;
	const char *text;

	profile_init(&p, 10, 1000);
	assert_ok(top_view_take(&f->v, &p));
	profile_deinit(&p);
	text = show(f, (struct top_screen){.order = TOP_BY_PROCESS});
	assert_non_null(strstr(text, "not shown: 0 functions, 0 processes"));
	assert_null(strstr(text, "leaf"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(top__counts, setup, teardown),
		cmocka_unit_test_setup_teardown(top__orders, setup, teardown),
		cmocka_unit_test_setup_teardown(top__hostile_names_give_no_orders, setup, teardown),
		cmocka_unit_test_setup_teardown(top__every_size, setup, teardown),
		cmocka_unit_test_setup_teardown(
			top__narrow_terminals_show_functions, setup, teardown),
		cmocka_unit_test_setup_teardown(top__nothing_sampled, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
