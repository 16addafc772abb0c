/* SPDX-License-Identifier: Apache-2.0 */
/* The worker beside the next window: who puts never waits, and what is left out is counted. */
#include "tests/harness.h"

#include <pthread.h>

#include "agent/worker.h"
#include "base/clock.h"
#include "base/log.h"

struct desk {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned open; // profiles that may be finished
	unsigned begun, done, brief;
	char order[64];
};

static int slow_write(void *arg, struct finished *f)
{
	struct desk *d = arg;

	pthread_mutex_lock(&d->lock);
	d->begun++;
	pthread_cond_broadcast(&d->changed);
	while (d->done >= d->open)
		pthread_cond_wait(&d->changed, &d->lock);
	d->order[d->done++] = f->event[0];
	d->brief += f->brief;
	pthread_mutex_unlock(&d->lock);
	return 0;
}

static void desk_begin(struct desk *d, unsigned open)
{
	const struct log_config quiet = {.console_stderr = true};

	log_open(&quiet);
	*d = (struct desk){.open = open};
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->changed, NULL);
}

static void desk_open(struct desk *d, unsigned n)
{
	pthread_mutex_lock(&d->lock);
	d->open += n;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
}

static void wait_begun(struct desk *d, unsigned n)
{
	pthread_mutex_lock(&d->lock);
	while (d->begun < n)
		pthread_cond_wait(&d->changed, &d->lock);
	pthread_mutex_unlock(&d->lock);
}

static void put(struct worker *w, char name)
{
	struct finished *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->event[0] = name;
	profile_init(&f->profile, 16, 1024);
	worker_put(w, f);
}

static void worker__keeps_order_and_pages_when_in_time(void **state)
{
	struct worker_stats stats;
	struct worker *w;
	struct desk d;

	(void)state;
	desk_begin(&d, 100);
	assert_ok(worker_new(slow_write, &d, &w));
	for (unsigned i = 0; i < 3; i++) {
		put(w, (char)('a' + i));
		wait_begun(&d, i + 1);
	}
	assert_true(worker_finish(w, 5 * NSEC_PER_SEC, &stats));
	assert_string_equal(d.order, "abc");
	assert_int_equal(stats.done, 3);
	assert_int_equal(stats.brief + stats.dropped + stats.failed, 0);
	worker_free(w);
}

static void worker__behind_it_leaves_pages_out_then_drops_the_oldest(void **state)
{
	uint64_t begin = clock_mono_ns();
	unsigned long errors = log_count(LOG_LEVEL_ERROR);
	struct worker_stats stats;
	struct worker *w;
	struct desk d;

	(void)state;
	desk_begin(&d, 0);
	assert_ok(worker_new(slow_write, &d, &w));
	put(w, 'a');
	wait_begun(&d, 1);
	// a hangs; of b to h the last four find room.
	for (char name = 'b'; name <= 'h'; name++)
		put(w, name);
	assert_true(clock_mono_ns() - begin < 5 * NSEC_PER_SEC);
	worker_get_stats(w, &stats);
	assert_int_equal(stats.dropped, 3);
	assert_int_equal(log_count(LOG_LEVEL_ERROR) - errors, 3);
	desk_open(&d, 100);
	assert_true(worker_finish(w, 5 * NSEC_PER_SEC, &stats));
	assert_string_equal(d.order, "aefgh");
	// e, f and g had others behind them; h, the last, gets its page.
	assert_int_equal(d.brief, 3);
	assert_int_equal(stats.brief, 3);
	worker_free(w);
}

static void worker__a_write_that_hangs_does_not_keep_the_program(void **state)
{
	uint64_t begin = clock_mono_ns();
	struct worker_stats stats;
	struct worker *w;
	struct desk d;

	(void)state;
	desk_begin(&d, 0);
	assert_ok(worker_new(slow_write, &d, &w));
	put(w, 'a');
	wait_begun(&d, 1);
	assert_false(worker_finish(w, 50 * NSEC_PER_MSEC, &stats));
	assert_true(clock_mono_ns() - begin < 5 * NSEC_PER_SEC);
	desk_open(&d, 1);
	assert_true(worker_finish(w, 5 * NSEC_PER_SEC, &stats));
	worker_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(worker__keeps_order_and_pages_when_in_time),
		cmocka_unit_test(worker__behind_it_leaves_pages_out_then_drops_the_oldest),
		cmocka_unit_test(worker__a_write_that_hangs_does_not_keep_the_program),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
