/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch.h"

#include <errno.h>
#include <string.h>

#include "agent/exposition.h"
#include "agent/notify.h"
#include "agent/status.h"
#include "base/clock.h"
#include "base/log.h"
#include "delivery/http_server.h"

#define LOGGER "gprofiler"
#define HEALTHY_NS (120 * NSEC_PER_SEC) // naming a large window may keep the loop that long

struct watch {
	const struct options *options;
	struct vitals *vitals;
	struct http_server *metrics; // NULL: not asked for, or not to be had
	struct status_server *status;
	struct notify notify;
	struct run_record record;
};

static void page_metrics(struct vitals *v, struct http_page *page)
{
	struct vitals_report report;

	vitals_collect(v, &report);
	page->type = EXPOSITION_TYPE;
	exposition_write(page->body, &report);
}

static void page_healthy(struct vitals *v, struct http_page *page)
{
	struct vitals_report report;
	uint64_t silent;

	vitals_collect(v, &report);
	silent = clock_mono_ns() - report.seen_ns;
	if (silent < HEALTHY_NS) {
		buf_append_str(page->body, "gprofiler is healthy.\n");
		return;
	}
	page->status = 503;
	buf_printf(page->body, "gprofiler's main loop was last seen %llu s ago.\n",
		(unsigned long long)(silent / NSEC_PER_SEC));
}

static void on_page(void *arg, const char *path, struct http_page *page)
{
	struct watch *w = arg;

	if (!strcmp(path, "/metrics")) {
		page_metrics(w->vitals, page);
	} else if (!strcmp(path, "/-/healthy")) {
		page_healthy(w->vitals, page);
	} else {
		page->status = 404;
		buf_append_str(page->body, "/metrics or /-/healthy\n");
	}
}

static void listen_for_metrics(struct watch *w)
{
	const char *text = w->options->metrics_listen, *why;
	struct sockaddr_storage address;
	socklen_t len;

	if (!text || !text[0])
		return;
	if (http_server_parse(text, &address, &len)) {
		log_error(LOGGER,
			"--metrics-listen %s: not an address and port, such as "
			"127.0.0.1:9203. No metrics are served",
			text);
		return;
	}
	if (http_server_start(&address, on_page, w, &w->metrics, &why))
		log_error(LOGGER, "--metrics-listen %s: %s. No metrics are served", text, why);
	else
		log_info(LOGGER, "Metrics about this agent at http://%s/metrics",
			http_server_address(w->metrics));
}

static void fill_record(void *arg, struct metric_values *m)
{
	const struct run_record *r = arg;

	m->ended_clean = (double)r->facts.ended[RUN_END_CLEAN];
	m->ended_failed = (double)r->facts.ended[RUN_END_FAILED];
	m->ended_crash = (double)r->facts.ended[RUN_END_CRASH];
	m->ended_killed = (double)r->facts.ended[RUN_END_KILLED];
	m->ended_oom = (double)r->facts.ended[RUN_END_OOM];
	m->ended_reboot = (double)r->facts.ended[RUN_END_REBOOT];
}

int watch_new(const struct options *o, uint64_t spawn_real_ns, int lock, struct watch **ret)
{
	struct watch *w = calloc(1, sizeof(*w));
	int r = w ? vitals_new(spawn_real_ns, &w->vitals) : -ENOMEM;

	if (r) {
		free(w);
		return r;
	}
	w->options = o;
	w->record.fd = -1;
	notify_init(&w->notify);
	if (o->continuous && !o->replay)
		run_record_open(&w->record, o->state_dir);
	r = vitals_add_part(w->vitals, fill_record, &w->record);
	listen_for_metrics(w);
	if (lock >= 0 && status_server_start(lock, w->vitals, &w->status))
		log_warning(
			LOGGER, "`gprofiler status` will not see this run: %s", strerror(errno));
	*ret = w;
	return r;
}

void watch_free(struct watch *w)
{
	if (!w)
		return;
	http_server_stop(w->metrics);
	status_server_stop(w->status);
	run_record_close(&w->record, RUN_END_FAILED);
	notify_deinit(&w->notify);
	vitals_free(w->vitals);
	free(w);
}

struct vitals *watch_vitals(struct watch *w)
{
	return w->vitals;
}

static void fill_delivery(void *arg, struct metric_values *m)
{
	struct delivery_stats s;

	delivery_stats(arg, &s);
	m->uploads_sent = (double)s.sent;
	m->uploads_failed = m->errors_upload = (double)s.failures;
	m->uploads_refused = m->errors_refused = (double)s.dropped_refused;
	m->uploads_dropped = (double)s.dropped_memory;
	m->upload_bytes = (double)s.sent_bytes;
	m->last_upload = (double)s.last_sent_real_ns / (double)NSEC_PER_SEC;
	m->spool_items = (double)s.waiting;
	m->spool_bytes = (double)s.waiting_bytes;
	m->spool_lost_size = (double)s.lost_size;
	m->spool_lost_age = (double)s.lost_age;
	m->spool_lost_damaged = (double)s.lost_damaged;
}

void watch_delivery(struct watch *w, struct delivery *d)
{
	vitals_add_part(w->vitals, fill_delivery, d);
}

static void fill_governor(struct metric_values *m, const struct watch_now *now)
{
	const struct governor *g = now->governor;

	m->memory_limit = (double)g->max_memory;
	m->memory_anonymous = (double)g->last.anon;
	m->memory_bpf = (double)g->last.bpf;
	m->governor_level = g->level;
	m->governor_full = (double)g->steps[GOVERNOR_FULL];
	m->governor_shed = (double)g->steps[GOVERNOR_SHED];
	m->governor_half = (double)g->steps[GOVERNOR_HALF];
	m->governor_quarter = (double)g->steps[GOVERNOR_QUARTER];
	m->governor_eighth = (double)g->steps[GOVERNOR_EIGHTH];
	m->governor_paused = (double)g->steps[GOVERNOR_PAUSED];
}

static void fill_selection(struct metric_values *m, const struct selection *s)
{
	m->chosen_pids = m->chosen_cgroups = m->pid_errors = 0;
	if (!s)
		return;
	m->chosen_pids = (double)s->pids.len;
	m->chosen_cgroups = s->native == SELECTION_CGROUPS ? s->cgroups.chosen : 0;
	m->pid_errors = (double)(s->options->pids.len - s->pids.len);
}

static void fill_worker(struct metric_values *m, struct worker *worker)
{
	struct worker_stats s;

	if (!worker)
		return;
	worker_get_stats(worker, &s);
	m->profiles_written = (double)(s.done - s.failed);
	m->profiles_failed = m->errors_output = (double)s.failed;
	m->profiles_dropped = m->errors_lost = (double)s.dropped;
	m->profiles_brief = (double)s.brief;
	m->writer_queue = (double)s.waiting;
}

static void fill_words(
	const struct options *o, struct vitals_words *words, const struct watch_now *now)
{
	const struct selection *s = now->selection;
	bool paused = now->rung && governor_divisor(now->governor->level) == 0;

	snprintf(words->rung, sizeof(words->rung), "%s", now->rung ? now->rung : "");
	snprintf(words->event, sizeof(words->event), "%s", now->event ? now->event : "");
	snprintf(words->state, sizeof(words->state), "%s",
		!now->rung ? "idle"
		: paused   ? "paused"
			   : "sampling");
	snprintf(words->scope, sizeof(words->scope), "%s",
		o->command			      ? "command"
		: s && s->pids.len		      ? "processes"
		: s && s->native == SELECTION_CGROUPS ? "cgroups"
		: now->runtimes_only		      ? "runtimes"
						      : "machine");
}

static void say_status(struct watch *w, const struct vitals_words *words, double frequency)
{
	char text[200];

	if (!strcmp(words->state, "sampling"))
		snprintf(text, sizeof(text), "Sampling the %s at %.0f Hz through %s", words->scope,
			frequency, words->rung);
	else
		snprintf(text, sizeof(text), "Nothing is sampled now (%s)", words->state);
	notify_status(&w->notify, text);
}

void watch_look(struct watch *w, const struct watch_now *now)
{
	struct vitals_report *r = vitals_begin(w->vitals);
	unsigned divisor = governor_divisor(now->governor->level);
	struct vitals_words words;
	double frequency;

	fill_governor(&r->values, now);
	fill_selection(&r->values, now->selection);
	fill_worker(&r->values, now->worker);
	fill_words(w->options, &r->words, now);
	r->values.sampling = now->rung != NULL;
	r->values.wakeups_called = (double)now->work.called;
	r->values.wakeups_timed = (double)now->work.timed;
	r->values.processes_read = (double)now->work.processes_read;
	r->values.frequency = frequency =
		now->rung && divisor ? MAX(now->frequency / divisor, 1u) : 0;
	words = r->words;
	vitals_end(w->vitals);
	say_status(w, &words, frequency);
	notify_alive(&w->notify, clock_mono_ns());
	run_record_seen(&w->record, clock_mono_ns());
}

void watch_window(struct watch *w, const struct profile_meta *meta)
{
	if (meta) {
		vitals_window(w->vitals, meta);
		return;
	}
	struct vitals_report *r = vitals_begin(w->vitals);

	r->values.windows_failed++;
	r->values.errors_window++;
	vitals_end(w->vitals);
}

void watch_ready(struct watch *w)
{
	notify_ready(&w->notify);
}

void watch_reloaded(struct watch *w)
{
	notify_reloaded(&w->notify, clock_mono_ns());
}

void watch_stopping(struct watch *w)
{
	struct vitals_report *r = vitals_begin(w->vitals);

	snprintf(r->words.state, sizeof(r->words.state), "ending");
	r->values.sampling = r->values.frequency = 0;
	vitals_end(w->vitals);
	notify_stopping(&w->notify);
}

void watch_ended(struct watch *w, bool clean)
{
	run_record_close(&w->record, clean ? RUN_END_CLEAN : RUN_END_FAILED);
}
