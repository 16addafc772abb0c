/* SPDX-License-Identifier: Apache-2.0 */
/* Ordering against a plain model: everything comes out once, in order, with its bytes. */
#include "tests/harness.h"

#include <errno.h>

#include "base/cleanup.h"
#include "capture/order.h"

#define EVENTS_MAX 100000

struct sink {
	uint64_t times[EVENTS_MAX];
	uint8_t types[EVENTS_MAX];
	size_t n, fail_at;
	uint64_t last;
	size_t backwards;
	size_t bad_payload;
};

static int take(void *arg, const struct capture_event *e)
{
	struct sink *s = arg;
	char expected[64];

	snprintf(expected, sizeof(expected), "name-%llu", (unsigned long long)e->time);
	if (e->type == CAPTURE_COMM)
		s->bad_payload += strcmp(e->comm.text, expected) != 0;
	if (e->type == CAPTURE_MMAP)
		s->bad_payload += strcmp(e->mmap.path, expected) != 0;
	s->backwards += e->time < s->last;
	s->last = e->time;
	s->times[s->n] = e->time;
	s->types[s->n++] = (uint8_t)e->type;
	return s->fail_at && s->n == s->fail_at ? -EIO : 0;
}

static struct sink *new_sink(void)
{
	struct sink *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	return s;
}

static int push_named(struct order *o, enum capture_event_type type, uint64_t time)
{
	struct capture_event e = {.type = type, .time = time};
	char name[64];

	snprintf(name, sizeof(name), "name-%llu", (unsigned long long)time);
	if (type == CAPTURE_COMM)
		e.comm.text = name;
	if (type == CAPTURE_MMAP)
		e.mmap.path = name;
	return order_push(o, &e);
}

static void order__merges_rings_up_to_the_horizon(void **state)
{
	struct sink *s = new_sink();
	struct order o;
	uint64_t expected = 0;

	(void)state;
	assert_ok(order_init(&o, ORDER_ARENA_DEFAULT));
	// 20 drains of 4 rings, each ring in order, rings one after the other.
	for (uint64_t drain = 0; drain < 20; drain++) {
		order_begin(&o, take, s);
		for (uint64_t ring = 0; ring < 4; ring++)
			for (uint64_t i = 0; i < 250; i++, expected++)
				assert_ok(push_named(&o, i % 2 ? CAPTURE_COMM : CAPTURE_MMAP,
					drain * 1000 + i * 4 + ring + 1));
		assert_ok(order_finish(&o, drain * 1000 + 900));
		assert_int_equal(s->n, drain * 1000 + 900);
	}
	assert_ok(order_finish(&o, UINT64_MAX));
	assert_int_equal(s->n, expected);
	assert_int_equal(s->backwards, 0);
	assert_int_equal(s->bad_payload, 0);
	assert_int_equal(o.stats.late, 0);
	assert_int_equal(o.stats.early, 0);
	assert_int_equal(o.used, 0);
	order_deinit(&o);
	free(s);
}

static void order__ranks_within_one_instant(void **state)
{
	static const enum capture_event_type order[] = {CAPTURE_FORK, CAPTURE_COMM, CAPTURE_MMAP,
		CAPTURE_LOST, CAPTURE_SAMPLE, CAPTURE_EXIT};
	struct rec_sample rec = {.time = 5, .outcome = REC_OUT_COMPLETE};
	struct sink *s = new_sink();
	struct order o;

	(void)state;
	assert_ok(order_init(&o, 0));
	order_begin(&o, take, s);
	for (int i = ARRAY_SIZE(order) - 1; i >= 0; i--) {
		struct capture_event e = {.type = order[i], .time = 5};

		if (order[i] == CAPTURE_SAMPLE)
			e.sample.rec = &rec;
		if (order[i] == CAPTURE_COMM)
			e.comm.text = "name-5";
		if (order[i] == CAPTURE_MMAP)
			e.mmap.path = "name-5";
		assert_ok(order_push(&o, &e));
	}
	assert_ok(order_finish(&o, 5));
	assert_int_equal(s->n, ARRAY_SIZE(order));
	for (size_t i = 0; i < s->n; i++)
		assert_int_equal(s->types[i], order[i]);
	order_deinit(&o);
	free(s);
}

static void order__late_is_delivered_and_counted(void **state)
{
	struct sink *s = new_sink();
	struct order o;

	(void)state;
	assert_ok(order_init(&o, 0));
	order_begin(&o, take, s);
	push_named(&o, CAPTURE_COMM, 100);
	assert_ok(order_finish(&o, 100));
	push_named(&o, CAPTURE_COMM, 50);
	push_named(&o, CAPTURE_COMM, 101);
	assert_ok(order_finish(&o, 200));
	assert_int_equal(s->n, 3);
	assert_int_equal(o.stats.late, 1);
	assert_int_equal(s->backwards, 1);
	order_deinit(&o);
	free(s);
}

static void order__full_arena_delivers_early(void **state)
{
	struct sink *s = new_sink();
	struct order o;
	struct capture_event e = {.type = CAPTURE_SAMPLE};

	(void)state;
	assert_ok(order_init(&o, 256 << 10));
	order_begin(&o, take, s);
	for (uint64_t i = 0; i < 50000; i++)
		assert_ok(push_named(&o, CAPTURE_COMM, i + 1));
	assert_ok(order_finish(&o, UINT64_MAX));
	assert_int_equal(s->n, 50000);
	assert_int_equal(s->backwards, 0);
	assert_int_equal(s->bad_payload, 0);
	assert_true(o.stats.early > 0);
	assert_true(o.peak <= o.size);
	// One that fits in no arena.
	struct rec_sample rec = {.flags = REC_F_HANDOFF};
	struct rec_handoff handoff = {.stack_len = 300 << 10};

	e.sample.rec = &rec;
	e.sample.handoff = &handoff;
	assert_int_equal(order_push(&o, &e), -E2BIG);
	order_deinit(&o);
	free(s);
}

static void order__callback_error_ends_the_drain(void **state)
{
	struct sink *s = new_sink();
	struct order o;

	(void)state;
	assert_ok(order_init(&o, 0));
	order_begin(&o, take, s);
	for (uint64_t i = 0; i < 10; i++)
		push_named(&o, CAPTURE_COMM, i + 1);
	s->fail_at = 4;
	assert_int_equal(order_finish(&o, UINT64_MAX), -EIO);
	assert_int_equal(s->n, 4);
	assert_ok(order_finish(&o, UINT64_MAX));
	assert_int_equal(s->n, 10);
	assert_int_equal(s->backwards, 0);
	assert_int_equal(s->bad_payload, 0);
	order_deinit(&o);
	free(s);
}

struct whole_sample {
	struct rec_sample rec;
	uint64_t kernel[3];
	uint64_t user[2];
	struct rec_handoff handoff;
	uint8_t stack[29];
};

static struct whole_sample make_sample(uint64_t time)
{
	struct whole_sample w = {
		.rec = {.type = REC_SAMPLE,
			.flags = REC_F_HANDOFF | REC_F_IN_KERNEL,
			.time = time,
			.weight = 10101010,
			.pid = 5,
			.tid = 6,
			.cpu = 1,
			.kernel_words = 3,
			.user_words = 2,
			.outcome = REC_OUT_HANDOFF,
			.reason = REC_WHY_NO_TABLE,
			.comm = "worker"},
		.kernel = {1, 2, 3},
		.user = {4, 5},
		.handoff = {.valid = 1, .regs = {7}, .stack_base = 4096, .stack_len = 29},
	};

	w.rec.len = offsetof(struct whole_sample, stack) + sizeof(w.stack);
	memset(w.stack, 0x5a, sizeof(w.stack));
	return w;
}

struct sample_sink {
	struct whole_sample got[8];
	size_t n;
};

static int take_sample(void *arg, const struct capture_event *e)
{
	struct sample_sink *s = arg;
	struct whole_sample *w = &s->got[s->n++];
	const struct capture_sample *c = &e->sample;

	assert_int_equal(e->type, CAPTURE_SAMPLE);
	assert_int_equal(e->pid, 5);
	assert_int_equal(e->tid, 6);
	assert_int_equal(e->cpu, 1);
	assert_int_equal((uintptr_t)c->rec % 8, 0);
	memset(w, 0, sizeof(*w));
	w->rec = *c->rec;
	memcpy(w->kernel, c->kernel, 8u * c->rec->kernel_words);
	memcpy(w->user, c->user, 8u * c->rec->user_words);
	w->handoff = *c->handoff;
	memcpy(w->stack, c->stack, c->handoff->stack_len);
	return 0;
}

static void order__samples_keep_their_bytes(void **state)
{
	struct sample_sink s = {0};
	struct whole_sample raw = make_sample(9), pieces = make_sample(8);
	struct capture_event e = {.type = CAPTURE_SAMPLE};
	struct order o;
	uint8_t padded[sizeof(raw) + 16] = {0};

	(void)state;
	assert_ok(order_init(&o, 0));
	order_begin(&o, take_sample, &s);
	memcpy(padded, &raw, raw.rec.len);
	assert_ok(order_push_record(&o, padded, sizeof(padded)));
	e.sample = (struct capture_sample){
		&pieces.rec, pieces.kernel, pieces.user, &pieces.handoff, pieces.stack};
	assert_ok(order_push(&o, &e));
	assert_ok(order_finish(&o, 9));
	assert_int_equal(s.n, 2);
	assert_memory_equal(&s.got[0], &pieces, pieces.rec.len);
	assert_memory_equal(&s.got[1], &raw, raw.rec.len);
	order_deinit(&o);
}

static void order__contradicting_lengths_are_dropped(void **state)
{
	struct sample_sink s = {0};
	struct order o;

	(void)state;
	assert_ok(order_init(&o, 0));
	order_begin(&o, take_sample, &s);
	for (int i = 0; i < 8; i++) {
		struct whole_sample w = make_sample(9);
		size_t len = w.rec.len;

		switch (i) {
		case 0:
			w.rec.type = 9;
			break;
		case 1:
			w.rec.len = 71;
			break;
		case 2:
			w.rec.len += 1;
			break;
		case 3:
			w.rec.kernel_words = 500;
			break;
		case 4:
			w.rec.user_words = 60;
			break;
		case 5:
			w.handoff.stack_len = UINT32_MAX;
			break;
		case 6:
			w.rec.outcome = REC_OUT_MAX;
			break;
		default:
			len = 71;
		}
		assert_ok(order_push_record(&o, &w, len));
		assert_ok(order_finish(&o, UINT64_MAX));
		assert_int_equal(o.stats.malformed, i + 1);
	}
	assert_int_equal(s.n, 0);
	order_deinit(&o);
}

static void order__horizon(void **state)
{
	(void)state;
	assert_int_equal(order_horizon(1000000000, 0), UINT64_MAX);
	assert_int_equal(order_horizon(1000000000, 5), 5);
	assert_int_equal(order_horizon(1000000000, 1000000000), 1000000000 - ORDER_SLACK_NS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order__merges_rings_up_to_the_horizon),
		cmocka_unit_test(order__ranks_within_one_instant),
		cmocka_unit_test(order__late_is_delivered_and_counted),
		cmocka_unit_test(order__full_arena_delivers_early),
		cmocka_unit_test(order__callback_error_ends_the_drain),
		cmocka_unit_test(order__samples_keep_their_bytes),
		cmocka_unit_test(order__contradicting_lengths_are_dropped),
		cmocka_unit_test(order__horizon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
