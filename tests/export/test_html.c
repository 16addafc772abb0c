/* SPDX-License-Identifier: Apache-2.0 */
/* The page writer: tree, budget, escaping, failures. The bytes of the container are checked against
 * an independent reader by tests/ui/check_page.py, and in a browser by tests/ui/page.mjs. */
#include <errno.h>

#include "export/export.h"
#include "export/html.h"
#include "export/html_compare.h"
#include "tests/harness.h"

static uint32_t frame(struct profile *p, const char *name, uint32_t line, unsigned flags)
{
	struct profile_frame f = {
		.kind = PROFILE_FRAME_NATIVE, .line = line, .flags = (uint16_t)flags};
	uint32_t id;

	assert_ok(profile_string(p, name, &f.name));
	assert_ok(profile_frame(p, &f, &id));
	return id;
}

static uint32_t context(struct profile *p, const char *comm, uint32_t pid, uint32_t tid)
{
	struct profile_context c = {.pid = pid, .tid = tid, .uid = pid};
	uint32_t id;

	assert_ok(profile_string(p, comm, &c.comm));
	c.thread_comm = c.comm;
	assert_ok(profile_context(p, &c, &id));
	return id;
}

static void add(struct profile *p, uint32_t c, const uint32_t *frames, size_t n, int64_t value)
{
	uint32_t node = 0;

	for (size_t i = 0; i < n; i++)
		assert_ok(profile_node(p, node, frames[i], &node));
	assert_ok(profile_add(p, c, node, &value));
}

static void start(struct profile *p)
{
	profile_init(p, 1000000, 64 << 20);
	p->ntypes = 1;
	assert_ok(profile_string(p, "samples", &p->types[0].type));
	assert_ok(profile_string(p, "count", &p->types[0].unit));
}

/* 200 chains of 50 frames, the k-th with k samples. */
static int64_t make_many(struct profile *p)
{
	uint32_t c, stack[51];
	int64_t sum = 0;
	char name[32];

	start(p);
	c = context(p, "many", 1, 1);
	stack[0] = frame(p, "main", 0, 0);
	for (int k = 1; k <= 200; k++) {
		for (int i = 1; i <= 50; i++) {
			snprintf(name, sizeof(name), "f%d_%d", k, i);
			stack[i] = frame(p, name, 0, 0);
		}
		add(p, c, stack, 51, k);
		sum += k;
	}
	return sum;
}

static int64_t self_sum(const struct html_tree *t)
{
	int64_t sum = 0;

	for (uint32_t i = 0; i < t->nnodes; i++)
		sum += t->self[i];
	return sum;
}

static void html__lines_of_a_function_are_one(void **state)
{
	struct profile p;
	struct html_tree t;

	(void)state;
	start(&p);
	uint32_t c = context(&p, "app", 1, 2);
	uint32_t a1 = frame(&p, "a", 10, PROFILE_FRAME_INLINED), a2 = frame(&p, "a", 7, 0);
	add(&p, c, &a1, 1, 3);
	add(&p, c, &a2, 1, 4);
	assert_ok(html_tree_init(&t, &p, &(struct html_tree_options){0}));
	// root, container, process, thread, a
	assert_int_equal(t.nnodes, 5);
	assert_int_equal(t.nfuns, 1);
	assert_int_equal(t.funs[0].line, 7);
	assert_int_equal(t.self[t.order[4]], 7);
	// Not inlined in every stack.
	assert_int_equal(t.nodes[t.order[4]].flags & HTML_NODE_INLINED, 0);
	assert_int_equal(t.processes, 1);
	assert_int_equal(t.threads, 1);
	html_tree_deinit(&t);
	profile_deinit(&p);
}

static void html__unnamed_frames_are_unknown_and_named_ones_native(void **state)
{
	static const struct {
		const char *name;
		uint16_t kind, flags;
		uint32_t shown;
	} cases[] = {
		{"(/bin/x)", PROFILE_FRAME_NATIVE, PROFILE_FRAME_NO_SYMBOL, PROFILE_FRAME_UNKNOWN},
		{"(/bin/y)", PROFILE_FRAME_UNKNOWN, 0, PROFILE_FRAME_UNKNOWN},
		{"[unknown]", PROFILE_FRAME_UNKNOWN, 0, PROFILE_FRAME_UNKNOWN},
		{"burn", PROFILE_FRAME_UNKNOWN, 0, PROFILE_FRAME_NATIVE},
		{"sys", PROFILE_FRAME_KERNEL, 0, PROFILE_FRAME_KERNEL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct profile_frame f = {.kind = cases[i].kind, .flags = cases[i].flags};
		struct profile p;
		struct html_tree t;
		uint32_t id;

		start(&p);
		assert_ok(profile_string(&p, cases[i].name, &f.name));
		assert_ok(profile_frame(&p, &f, &id));
		assert_ok(html_tree_init(&t, &p, &(struct html_tree_options){0}));
		assert_int_equal(t.funs[0].kind, cases[i].shown);
		html_tree_deinit(&t);
		profile_deinit(&p);
	}
}

static void html__siblings_are_in_the_order_of_names(void **state)
{
	struct profile p;
	struct html_tree t;
	const char *last = "";

	(void)state;
	make_many(&p);
	assert_ok(html_tree_init(&t, &p, &(struct html_tree_options){0}));
	for (uint32_t i = t.nodes[t.order[4]].first; i != HTML_NONE; i = t.nodes[i].next) {
		const char *name = html_tree_fun_name(&t, t.nodes[i].item);

		assert_true(strcmp(last, name) < 0);
		last = name;
	}
	html_tree_deinit(&t);
	profile_deinit(&p);
}

static void html__budget_folds_the_narrowest_and_keeps_sums(void **state)
{
	static const uint32_t budgets[] = {9000, 3000, 500, 60, 10};
	struct profile p;
	int64_t sum = make_many(&p);

	(void)state;
	for (size_t b = 0; b < ARRAY_SIZE(budgets); b++) {
		struct html_tree t;
		bool fold_seen = false;

		assert_ok(
			html_tree_init(&t, &p, &(struct html_tree_options){.budget = budgets[b]}));
		assert_true(t.nnodes <= budgets[b]);
		assert_int_equal(self_sum(&t), sum);
		assert_true(t.folded > 0);
		for (uint32_t i = 1; i < t.nnodes; i++) {
			const struct html_node *n = &t.nodes[i];

			assert_true(n->parent < t.nnodes);
			if (n->flags & HTML_NODE_FOLDED) {
				fold_seen = true;
				assert_int_equal(n->item, t.fold_fun);
				assert_string_equal(
					html_tree_fun_name(&t, n->item), "(small frames)");
			}
		}
		assert_true(fold_seen);
		html_tree_deinit(&t);
	}
	profile_deinit(&p);
}

static void html__text_is_never_markup(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"plain", "plain"},
		{"<b>&\"'", "&#60;b&#62;&#38;&#34;&#39;"},
		{"a\x01\x7f"
		 "b",
			"a&lt;U+0001&gt;&lt;U+007F&gt;b"},
		{"\xe2\x80\xae", "&lt;U+202E&gt;"},
		{"\xff", "\xef\xbf\xbd"},
		{"\xe4\xb8\xad", "\xe4\xb8\xad"},
		{"\xe4\xb8", "\xef\xbf\xbd"},
		{"\xed\xa0\x80<", "\xef\xbf\xbd&#60;"},
		{"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
		{"\xf4\x90\x80\x80", "\xef\xbf\xbd"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text = NULL;
		size_t len;
		FILE *f = open_memstream(&text, &len);

		assert_non_null(f);
		html_text(f, cases[i].in);
		fclose(f);
		assert_string_equal(text, cases[i].out);
		free(text);
	}
}

static void html__page_has_its_parts(void **state)
{
	struct profile p;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	make_many(&p);
	assert_ok(profile_string(&p, "</title><script>", &p.meta.hostname));
	assert_non_null(f);
	assert_ok(export_html(f, &p));
	fclose(f);
	assert_non_null(strstr(text, "Content-Security-Policy"));
	assert_null(strstr(text, "</title><script>"));
	assert_non_null(strstr(text, "&#60;/title&#62;"));
	assert_non_null(strstr(text, "f200_50"));
	assert_non_null(strstr(text, "<script type=\"text/plain\" id=\"profile\">H4sI"));
	assert_null(strstr(text, "https://"));
	// The one address is a name, not a place: the SVG namespace of an exported picture.
	for (const char *at = text; (at = strstr(at, "http://")) != NULL; at++)
		assert_memory_equal(at, "http://www.w3.org/2000/svg", 26);
	assert_null(strstr(text, "src="));
	assert_null(strstr(text, "unsafe-inline"));
	free(text);
	profile_deinit(&p);
}

static void html__a_full_disk_is_an_error(void **state)
{
	struct profile p;
	FILE *f = fopen("/dev/full", "w");

	(void)state;
	if (!f)
		test_skip("no /dev/full");
	make_many(&p);
	assert_true(export_html(f, &p) < 0 || fclose(f) != 0);
	profile_deinit(&p);
}

static void html__empty_profile_is_written(void **state)
{
	struct profile p;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	profile_init(&p, 10, 1000);
	assert_ok(export_html(f, &p));
	fclose(f);
	assert_non_null(strstr(text, "id=\"profile\""));
	free(text);
	profile_deinit(&p);
}

static void html__compare_joins_by_name(void **state)
{
	struct profile a, b, merged;
	struct html_change_vec changes;

	(void)state;
	start(&a);
	start(&b);
	uint32_t ca = context(&a, "app", 1, 1), cb = context(&b, "app", 77, 78);
	uint32_t fa[] = {frame(&a, "main", 3, 0), frame(&a, "hot", 4, 0)};
	uint32_t fb[] = {frame(&b, "main", 9, 0), frame(&b, "hot", 4, 0), frame(&b, "new", 1, 0)};
	add(&a, ca, fa, 2, 1000);
	add(&a, ca, fa, 1, 500);
	add(&b, cb, fb, 2, 1010);
	add(&b, cb, fb, 1, 510);
	add(&b, cb, (uint32_t[]){fb[0], fb[2]}, 2, 700);
	profile_init(&merged, 1000, 10000);
	assert_ok(html_compare_merge(&merged, &a, &b));
	assert_int_equal(merged.ntypes, 2);
	assert_int_equal(merged.contexts.len, 1);
	html_change_vec_init(&changes, 100);
	assert_ok(html_compare_changes(&merged, &changes));
	assert_int_equal(changes.len, 3);
	assert_string_equal(
		profile_text(&merged, profile_frame_get(&merged, changes.data[0].frame)->name),
		"new");
	assert_int_equal(changes.data[0].self_b, 700);
	assert_true(changes.data[0].change > 0.3 && changes.data[0].change < 0.33);
	html_change_vec_deinit(&changes);
	profile_deinit(&merged);
	profile_deinit(&a);
	profile_deinit(&b);
}

static void html__compare_calls_noise_noise(void **state)
{
	struct profile a, b, merged;
	struct html_change_vec changes;

	(void)state;
	start(&a);
	start(&b);
	uint32_t ca = context(&a, "app", 1, 1), cb = context(&b, "app", 1, 1);
	uint32_t fa = frame(&a, "x", 0, 0), ga = frame(&a, "y", 0, 0);
	uint32_t fb = frame(&b, "x", 0, 0), gb = frame(&b, "y", 0, 0);
	add(&a, ca, &fa, 1, 100);
	add(&a, ca, &ga, 1, 100);
	add(&b, cb, &fb, 1, 108);
	add(&b, cb, &gb, 1, 97);
	profile_init(&merged, 1000, 10000);
	assert_ok(html_compare_merge(&merged, &a, &b));
	html_change_vec_init(&changes, 100);
	assert_ok(html_compare_changes(&merged, &changes));
	assert_int_equal(changes.len, 0);
	html_change_vec_deinit(&changes);
	profile_deinit(&merged);
	profile_deinit(&a);
	profile_deinit(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(html__lines_of_a_function_are_one),
		cmocka_unit_test(html__unnamed_frames_are_unknown_and_named_ones_native),
		cmocka_unit_test(html__siblings_are_in_the_order_of_names),
		cmocka_unit_test(html__budget_folds_the_narrowest_and_keeps_sums),
		cmocka_unit_test(html__text_is_never_markup),
		cmocka_unit_test(html__page_has_its_parts),
		cmocka_unit_test(html__a_full_disk_is_an_error),
		cmocka_unit_test(html__empty_profile_is_written),
		cmocka_unit_test(html__compare_joins_by_name),
		cmocka_unit_test(html__compare_calls_noise_noise),
	};

	return cmocka_run_group_tests_name("html", tests, NULL, NULL);
}
