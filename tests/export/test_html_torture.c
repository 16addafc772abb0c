/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation fails once while a page and a comparison are written: no crash, no leak, no page
 * that claims to be whole. */
#include "tests/harness.h"

#include <stdbool.h>

#include "export/export.h"
#include "export/html.h"
#include "export/html_compare.h"
#include "tests/torture.h"

static void make(struct profile *p, int64_t extra)
{
	uint32_t c, node = 0;
	char name[32];

	profile_init(p, 10000, 1 << 20);
	p->ntypes = 1;
	assert_ok(profile_string(p, "samples", &p->types[0].type));
	assert_ok(profile_string(p, "count", &p->types[0].unit));
	p->meta.has_ledger = true;
	p->meta.ledger.broken_reasons[1] = 3;
	for (uint32_t i = 0; i < 60; i++) {
		struct profile_context who = {.pid = i / 20 + 1, .tid = i + 1};
		struct profile_frame f = {.kind = PROFILE_FRAME_NATIVE, .line = i};
		int64_t value = i + extra;

		snprintf(name, sizeof(name), "f%u", i % 40);
		assert_ok(profile_string(p, name, &f.name));
		who.comm = who.thread_comm = f.name;
		assert_ok(profile_frame(p, &f, &c));
		assert_ok(profile_node(p, i % 7 ? node : 0, c, &node));
		assert_ok(profile_context(p, &who, &c));
		assert_ok(profile_add(p, c, node, &value));
		assert_ok(timeline_add(&p->timeline, profile_sample_id(p, c, node),
			(i + 1) * 30000000ull, (uint64_t)value));
	}
}

static bool whole(const char *text, size_t len)
{
	return len > 8 && memcmp(text + len - 8, "</html>\n", 8) == 0;
}

/* True if a failure was reported, or the page is whole. */
static bool write_page(const struct profile *p, uint32_t budget, const struct html_compare *compare)
{
	static char text[1 << 20];
	FILE *f = fmemopen(text, sizeof(text), "w");
	long len;
	int r;

	if (!f)
		return true;
	r = html_write(f, p, &(struct html_options){.budget = budget, .compare = compare});
	len = ftell(f);
	fclose(f);
	return r < 0 || (len > 0 && whole(text, (size_t)len));
}

static void html__every_allocation_of_a_page(void **state)
{
	struct profile p;

	(void)state;
	make(&p, 1);
	assert_true(torture_each(write_page(&p, 0, NULL)) > 20);
	profile_deinit(&p);
}

static void html__every_allocation_of_a_folded_page(void **state)
{
	struct profile p;

	(void)state;
	make(&p, 1);
	assert_true(torture_each(write_page(&p, 40, NULL)) > 20);
	profile_deinit(&p);
}

static bool compare(const struct profile *a, const struct profile *b)
{
	const struct html_compare sides = {a, b};
	struct html_change_vec changes;
	struct profile merged;
	bool fine;
	int r;

	profile_init(&merged, 10000, 1 << 20);
	html_change_vec_init(&changes, 1000);
	r = html_compare_merge(&merged, a, b);
	if (!r)
		r = html_compare_changes(&merged, &changes);
	fine = r < 0 || write_page(&merged, 0, &sides);
	html_change_vec_deinit(&changes);
	profile_deinit(&merged);
	return fine;
}

static void html__every_allocation_of_a_comparison(void **state)
{
	struct profile a, b;

	(void)state;
	make(&a, 1);
	make(&b, 1000);
	assert_true(torture_each(compare(&a, &b)) > 20);
	profile_deinit(&a);
	profile_deinit(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(html__every_allocation_of_a_page),
		cmocka_unit_test(html__every_allocation_of_a_folded_page),
		cmocka_unit_test(html__every_allocation_of_a_comparison),
	};

	return cmocka_run_group_tests_name("html_torture", tests, NULL, NULL);
}
