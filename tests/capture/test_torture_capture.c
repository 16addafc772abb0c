/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation, open, read and write fails once while records are put in order, written to a file
 * and read back. A recording is there whole or not at all. */
#include "tests/harness.h"

#include "capture/order.h"
#include "capture/record_file.h"
#include "capture/source_replay.h"
#include "tests/torture_io.h"

#define PATH "/tmp/test_torture_capture"
#define COUNT 40u

static const struct capture_source described = {
	.frequency = 99,
	.ncpus = 2,
	.nevents = 1,
	.events = {{"cpu-clock", 1, 0}},
};

static const uint64_t words[] = {1, 2, 3};
static const struct rec_sample sample = {.type = REC_SAMPLE,
	.len = sizeof(sample) + sizeof(words),
	.time = 1,
	.weight = 1,
	.pid = 7,
	.user_words = 3,
	.outcome = REC_OUT_COMPLETE,
	.comm = "worker"};

struct seen {
	uint64_t last;
	unsigned n;
	bool disorder;
	struct record_writer *writer;
};

static int on_event(void *arg, const struct capture_event *e)
{
	struct seen *s = arg;

	s->disorder |= e->time < s->last;
	s->last = e->time;
	s->n++;
	return s->writer ? record_writer_add(s->writer, e) : 0;
}

/* Backwards, so that there is something to put in order. */
static int push_all(struct order *o)
{
	for (uint64_t t = COUNT; t > 0; t--) {
		struct capture_event e = {.type = CAPTURE_COMM, .pid = 7, .tid = 7, .time = t};
		struct rec_sample rec = sample;
		int r;

		e.comm.text = "worker";
		if (t % 2) {
			rec.time = t;
			e = (struct capture_event){.type = CAPTURE_SAMPLE, .pid = 7, .time = t};
			e.sample.rec = &rec;
			e.sample.user = words;
			r = order_push(o, &e);
		} else {
			r = order_push(o, &e);
		}
		if (r)
			return r;
	}
	return 0;
}

static bool ordered(void)
{
	struct order o;
	struct seen s = {0};
	int r = order_init(&o, 1 << 20);

	if (!r) {
		order_begin(&o, on_event, &s);
		r = push_all(&o);
	}
	if (!r)
		r = order_finish(&o, UINT64_MAX);
	order_deinit(&o);
	return r < 0 || (s.n == COUNT && !s.disorder);
}

static int write_file(void)
{
	struct capture_stats stats = {.samples = COUNT};
	struct record_writer w;
	int r = record_writer_open(&w, PATH, &described);

	for (uint64_t t = 1; t <= COUNT && !r; t++) {
		struct capture_event e = {.type = CAPTURE_COMM, .pid = 7, .tid = 7, .time = t};

		e.comm.text = "worker";
		r = record_writer_add(&w, &e);
	}
	if (!r)
		r = record_writer_commit(&w, &stats);
	record_writer_close(&w);
	return r;
}

static int read_file(struct seen *s)
{
	struct capture_source *source;
	char why[CAPTURE_WHY];
	int r = capture_source_replay_new(PATH, &source, why);

	if (r)
		return why[0] ? r : 1;
	r = source->ops->drain(source, 0, on_event, s);
	source->ops->free(source);
	return r;
}

static bool recorded(void)
{
	struct seen s = {0};
	int written, r;

	unlink(PATH);
	written = write_file();
	if (written > 0 || (written < 0 && access(PATH, F_OK) == 0))
		return false;
	if (written)
		return true;
	r = read_file(&s);
	return r < 0 || (!r && s.n == COUNT && !s.disorder);
}

static void torture__order(void **state)
{
	(void)state;
	assert_true(torture_each(ordered()) >= 1);
}

static void torture__recording(void **state)
{
	unsigned long failed;

	(void)state;
	failed = torture_each(recorded());
	printf("# %lu calls failed\n", failed);
	assert_true(failed > 8);
	unlink(PATH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(torture__order),
		cmocka_unit_test(torture__recording),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
