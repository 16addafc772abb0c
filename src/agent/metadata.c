/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/metadata.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "agent/hw_metrics.h"
#include "base/clock.h"
#include "base/thread.h"
#include "delivery/cloud.h"
#include "export/col_header.h"

#define CLOUD_WAIT_MS 2000 // for the cloud, in the first header

static void add_text(json_t *o, const char *key, const char *value)
{
	json_object_set_new(o, key, json_text(value));
}

static void *read_hostname(void *arg)
{
	cloud_enter_host_network();
	system_hostname("/proc", arg);
	return NULL;
}

void metadata_hostname(char *ret, size_t size)
{
	char name[SYSTEM_HOSTNAME_MAX] = "";
	pthread_t thread;

	// The host's, not that of a container we are in: only a thread of its own can go there.
	if (thread_start(&thread, 0, read_hostname, name) == 0)
		pthread_join(thread, NULL);
	if (!name[0])
		system_hostname("/proc", name);
	snprintf(ret, size, "%s", name);
}

/* The reference's arguments hold all there are; these four change what the studio does. */
static json_t *run_arguments(const struct metadata_config *config)
{
	static const struct {
		const char *key, *value;
	} always[] = {{"service_name", NULL}, {"profile_api_version", NULL},
		{"perf_events", "cycles"}, {"perf_mode", "smart"}};
	json_t *o = config->run_arguments ? json_deep_copy(config->run_arguments) : json_object();

	for (size_t i = 0; i < ARRAY_SIZE(always); i++)
		if (!json_object_get(o, always[i].key))
			json_object_set_new(o, always[i].key, json_text(always[i].value));
	return o;
}

static void add_system(json_t *o, const struct metadata_config *config)
{
	const json_t *external = config->machine->external.fixed;
	json_t *big_data;
	char when[32];

	system_facts_add(config->machine->facts, o, CLOUD_WAIT_MS);
	// Its place is behind the arguments.
	big_data = json_incref(json_object_get(o, "big_data"));
	json_object_del(o, "big_data");
	json_object_set_new(o, "run_arguments", run_arguments(config));
	json_object_set_new(o, "big_data", big_data);
	json_object_set_new(
		o, "external_metadata", external ? json_deep_copy(external) : json_object());
	clock_iso_utc(clock_real_ns(), when);
	add_text(o, "current_time", when);
}

static json_t *containers(const struct profile *p)
{
	json_t *list = json_array();

	for (uint32_t id = 1; id <= p->contexts.len; id++) {
		const char *name = profile_text(p, profile_context_get(p, id)->container);
		size_t i;
		json_t *seen;

		if (!name[0])
			continue;
		json_array_foreach (list, i, seen)
			if (!strcmp(json_string_value(seen), name))
				break;
		if (i == json_array_size(list))
			json_array_append_new(list, json_text(name));
	}
	return list;
}

/* What contexts refer to by its index; 0 is none (3.2). */
static json_t *application_metadata(const struct profile *p)
{
	json_t *list = json_pack("[n]");

	for (uint32_t id = 1; id <= p->app_metadata.len; id++) {
		json_t *o = json_loads(intern_str(&p->app_metadata, id), 0, NULL);

		json_array_append_new(list, o ? o : json_null());
	}
	return list;
}

#define LEDGER(field) json_object_set_new(o, #field, json_integer((json_int_t)l->field))

/* Ours, after the reference's keys: consumers look keys up by name. */
static json_t *ledger(const struct profile_ledger *l)
{
	json_t *o = json_object(), *reasons = json_object();

	LEDGER(expected);
	LEDGER(entries);
	LEDGER(idle);
	LEDGER(filtered);
	LEDGER(kernel_only);
	LEDGER(complete);
	LEDGER(handoff);
	LEDGER(finished_complete);
	LEDGER(finished_truncated);
	LEDGER(finished_broken);
	LEDGER(finished_late);
	LEDGER(truncated);
	LEDGER(broken);
	LEDGER(bits32);
	LEDGER(no_user);
	LEDGER(lost_ring);
	LEDGER(aggregation_full);
	LEDGER(left_out);
	LEDGER(idle_silent);
	LEDGER(not_delivered);
	LEDGER(throttled);
	LEDGER(side_band_lost);
	LEDGER(frames);
	LEDGER(frames_unnamed);
	LEDGER(frames_no_symbols);
	LEDGER(read);
	LEDGER(read_stacks);
	LEDGER(read_torn);
	LEDGER(read_failed);
	LEDGER(read_unseen);
	for (size_t i = 1; i < REC_WHY_MAX; i++)
		if (col_header_reasons[i] && l->broken_reasons[i])
			json_object_set_new(reasons, col_header_reasons[i],
				json_integer((json_int_t)l->broken_reasons[i]));
	json_object_set_new(o, "reasons", reasons);
	return o;
}

/* When the run was, for who reads the file back (export/col_header) or sends it later. */
static void add_times(json_t *header, const struct profile_meta *m)
{
	char when[32];

	if (!m->start_real_ns)
		return;
	clock_iso_utc(m->start_real_ns, when);
	add_text(header, "start_time", when);
	clock_iso_utc(m->start_real_ns + m->duration_ns, when);
	add_text(header, "end_time", when);
	json_object_set_new(header, "duration_ns", json_integer((json_int_t)m->duration_ns));
}

/* With one decimal, as the reference's. */
static json_t *percent(const struct profile_meta *m, double value)
{
	bool known = m->has_usage && value >= 0;

	return known ? json_real((double)(int64_t)(value * 10 + 0.5) / 10) : json_null();
}

json_t *metadata_header(const struct metadata_config *config, const struct profile *p)
{
	json_t *header = json_object(), *metadata = json_object(), *metrics = json_object();
	char host[SYSTEM_HOSTNAME_MAX];

	if (config->machine && config->machine->facts) {
		add_system(metadata, config);
	} else {
		metadata_hostname(host, sizeof(host));
		add_text(metadata, "hostname", host);
	}
	add_text(metadata, "profiling_mode", "cpu");
	json_object_set_new(metadata, "continuous", json_boolean(config->continuous));
	json_object_set_new(metrics, "cpu_avg", percent(&p->meta, p->meta.cpu_avg));
	json_object_set_new(metrics, "mem_avg", percent(&p->meta, p->meta.mem_avg));
	json_object_set_new(header, "containers", containers(p));
	json_object_set_new(
		header, "container_names_enabled", json_boolean(config->container_names));
	json_object_set_new(header, "metadata", metadata);
	json_object_set_new(header, "metrics", metrics);
	json_object_set_new(header, "application_metadata", application_metadata(p));
	json_object_set_new(
		header, "application_metadata_enabled", json_boolean(config->application_metadata));
	add_text(header, "profiling_mode", "cpu");
	json_object_set_new(header, "hwmetrics",
		config->hw_metrics && p->meta.has_hw
			? hw_metrics_json(&p->meta.hw, p->meta.duration_ns)
			: json_null());
	json_object_set_new(header, "htmlblob", json_null());
	json_object_set_new(header, "flamegraph_html", json_null());
	add_text(header, "sampling_event", config->event);
	add_text(header, "sampling_mode", "frequency");
	json_object_set_new(header, "sampling_frequency", json_integer(config->frequency));
	add_times(header, &p->meta);
	if (p->meta.has_ledger)
		json_object_set_new(header, "ledger", ledger(&p->meta.ledger));
	return header;
}
