/* SPDX-License-Identifier: Apache-2.0 */
/* Packing, keeping and reading back when the n-th allocation fails. */
#include "tests/harness.h"

#include <errno.h>

#include "tests/torture.h"

#include "base/log.h"
#include "delivery/pack.h"
#include "delivery/queue.h"

static int write_text(FILE *f, bool page, void *arg)
{
	(void)page, (void)arg;
	fputs("# {\"flamegraph_html\": null}", f);
	for (unsigned i = 0; i < 1500; i++)
		fprintf(f, "\n0;;p%u;f%08x;g%08x 1", i % 5, i * 2654435761u,
			i * 40503u * 2654435761u);
	return fflush(f) ? -1 : 0;
}

static int put(struct upload *u, void *arg)
{
	bool kept;

	return queue_put(arg, u, &kept);
}

/* True if every upload came back whole, or a step said that it could not. */
static bool pack_keep_read(size_t preferred)
{
	static char name[] = "n";
	struct pack_stats stats;
	struct queue q;
	struct pack_job job = {
		.origin = {.run = name, .service = name, .hostname = name},
		.fields = "\"profile\": \"",
		.preferred = preferred,
		.text = write_text,
		.sink = put,
		.sink_arg = &q,
	};
	bool fine = false;
	int r;

	queue_open(&q, NULL, 0, 0);
	r = pack_profile(&job, &stats);
	if (r) {
		fine = r < 0;
	} else {
		struct queue_item item;
		unsigned n = 0;

		while (!(r = queue_next(&q, &item))) {
			_cleanup_buf_ struct buf body = BUF_INIT(UPLOAD_KEPT_MAX);

			r = upload_body(&body, &item.upload, "1");
			fine = r < 0 || body.len > 0;
			queue_remove(&q, &item);
			queue_item_deinit(&item);
			n++;
			if (r)
				break;
		}
		fine = r == -ENOENT ? n == stats.parts : r < 0;
	}
	queue_close(&q);
	return fine;
}

static void torture__pack_keep_read(void **state)
{
	(void)state;
	printf("# %lu allocations failed, whole\n", torture_each(pack_keep_read(UPLOAD_PREFERRED)));
	printf("# %lu allocations failed, in parts\n", torture_each(pack_keep_read(6000)));
}

static void torture__pack_again(void **state)
{
	static char name[] = "n";
	struct pack_stats stats;
	struct queue q, parts;
	struct queue_item item;
	struct pack_job job = {
		.origin = {.run = name, .service = name, .hostname = name},
		.fields = "\"profile\": \"",
		.preferred = UPLOAD_PREFERRED,
		.text = write_text,
		.sink = put,
		.sink_arg = &q,
	};

	(void)state;
	queue_open(&q, NULL, 0, 0);
	assert_ok(pack_profile(&job, &stats));
	assert_ok(queue_next(&q, &item));
	printf("# %lu allocations failed\n", torture_each(({
		int r;

		queue_open(&parts, NULL, 0, 0);
		r = pack_again(&item.upload, put, &parts);
		queue_close(&parts);
		r <= 0;
	})));
	queue_item_deinit(&item);
	queue_close(&q);
}

static uint64_t next_id(struct queue *q, bool aside)
{
	struct queue_item item;
	uint64_t id;

	assert_ok(queue_next(q, &item));
	id = item.id;
	if (aside)
		queue_set_aside(q, &item);
	else
		queue_remove(q, &item);
	queue_item_deinit(&item);
	return id;
}

static void queue__memory_lets_others_go_first(void **state)
{
	static char name[] = "n";
	_cleanup_buf_ struct buf member = BUF_INIT(64);
	struct upload u = {.origin = {.run = name, .service = name, .hostname = name}};
	struct queue_item item;
	struct queue q;
	bool kept;

	(void)state;
	buf_append_str(&member, "a member");
	u.member = member;
	queue_open(&q, NULL, 0, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_ok(queue_put(&q, &u, &kept));
	assert_int_equal(next_id(&q, true), 0);
	assert_int_equal(next_id(&q, false), 1);
	assert_int_equal(next_id(&q, true), 2);
	assert_false(queue_ready(&q));
	assert_int_equal(queue_next(&q, &item), -ENOENT);
	assert_int_equal(queue_items(&q), 2);
	queue_recall(&q);
	assert_true(queue_ready(&q));
	assert_int_equal(next_id(&q, false), 0);
	assert_int_equal(next_id(&q, false), 2);
	assert_true(queue_empty(&q));
	queue_close(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(torture__pack_keep_read),
		cmocka_unit_test(torture__pack_again),
		cmocka_unit_test(queue__memory_lets_others_go_first),
	};

	return cmocka_run_group_tests_name("torture_delivery", tests, NULL, NULL);
}
