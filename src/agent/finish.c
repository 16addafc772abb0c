/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/finish.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger.h"
#include "agent/metadata.h"
#include "agent/summary.h"
#include "base/log.h"

#define LOGGER "gprofiler"
#define PROFILE_SAMPLES_MAX (1 << 20)
#define PROFILE_BYTES_MAX (256u << 20)
#define TEXT_MAX (1 << 20)

int finished_new(const struct finish_config *config, struct session *s, unsigned event,
	struct finished **ret)
{
	struct finished *f = calloc(1, sizeof(*f));
	char host[65];
	int r;

	if (!f)
		return -ENOMEM;
	snprintf(f->event, sizeof(f->event), "%s", session_event_name(s, event));
	f->several = session_events(s) > 1;
	profile_init(&f->profile, PROFILE_SAMPLES_MAX, PROFILE_BYTES_MAX);
	r = session_profile(s, event, &f->profile);
	metadata_hostname(host, sizeof(host));
	if (!r)
		r = profile_string(&f->profile, host, &f->profile.meta.hostname);
	if (!r && config->options->command)
		r = profile_string(
			&f->profile, config->options->command[0], &f->profile.meta.command);
	if (r) {
		log_error(LOGGER, "Naming the profile of %s: %s", f->event, strerror(-r));
		finished_free(f);
		return r;
	}
	*ret = f;
	return 0;
}

void finished_free(struct finished *f)
{
	if (!f)
		return;
	profile_deinit(&f->profile);
	free(f);
}

/* What a person at a terminal wants to read; without --top it goes to the debug log. */
static void report(const struct options *o, struct buf *text)
{
	if (o->top) {
		fputs(buf_str(text), o->command ? stderr : stdout);
		return;
	}
	for (char *line = text->data, *end; line && *line; line = end + 1) {
		end = strchr(line, '\n');
		if (!end)
			break;
		*end = 0;
		log_debug(LOGGER, "%s", line);
	}
}

int finished_write(const struct finish_config *config, struct finished *f)
{
	const struct options *o = config->options;
	_cleanup_json_ json_t *args = options_to_json(o);
	struct metadata_config metadata = {
		.run_arguments = args,
		.collect = o->collect_metadata,
		.container_names = o->container_names,
		.application_metadata = o->application_metadata,
		.continuous = o->continuous,
		.spawn_real_ns = config->spawn_real_ns,
		.event = f->event,
		.frequency = (unsigned)o->frequency,
	};
	struct output_config output = config->output;
	const struct export_collapsed_options collapsed = {
		.header = true,
		.contexts = output.contexts,
		.insert_dso_name = output.insert_dso_name,
		.line_numbers = output.line_numbers,
	};
	_cleanup_buf_ struct buf text = BUF_INIT(TEXT_MAX);
	struct profile *p = &f->profile;
	int r;

	if (f->brief)
		output.formats &= ~(1u << OUTPUT_HTML);
	p->header = metadata_header(&metadata, p);
	json_object_set_new(p->header, "governor", governor_json(&f->marks));
	r = output_write(&output, p, f->several ? f->event : NULL);
	if (config->delivery)
		delivery_profile(config->delivery, p, &collapsed);
	if (o->top) {
		summary_top(&text, p, (unsigned)o->top);
		buf_append_char(&text, '\n');
	}
	ledger_print(&text, &p->meta);
	report(o, &text);
	return r;
}
