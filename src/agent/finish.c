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

int finish_config_new(const struct options *options, struct finish_config **ret)
{
	struct finish_config *c = calloc(1, sizeof(*c));
	const struct options *o;
	int r = c ? options_copy(&c->options, options) : -ENOMEM;

	if (r) {
		free(c);
		return r;
	}
	o = &c->options;
	atomic_init(&c->refs, 1);
	c->output = (struct output_config){
		.dir = o->output_dir,
		// enum output_format and enum option_format are one order
		.formats = o->output_dir ? o->format : 0,
		.rotating = o->rotating_output,
		.keep_bytes = o->keep_output,
		.insert_dso_name = o->insert_dso_name,
		.line_numbers = o->line_numbers,
		.contexts = true,
	};
	*ret = c;
	return 0;
}

struct finish_config *finish_config_ref(struct finish_config *c)
{
	atomic_fetch_add(&c->refs, 1);
	return c;
}

void finish_config_unref(struct finish_config *c)
{
	if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	options_deinit(&c->options);
	free(c);
}

int finished_new(struct finish_config *config, const char *event, struct finished **ret)
{
	struct finished *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->config = finish_config_ref(config);
	snprintf(f->event, sizeof(f->event), "%s", event);
	profile_init(&f->profile, PROFILE_SAMPLES_MAX, PROFILE_BYTES_MAX);
	*ret = f;
	return 0;
}

int finished_take(
	struct finish_config *config, struct session *s, unsigned event, struct finished **ret)
{
	struct finished *f;
	char host[65];
	int r = finished_new(config, session_event_name(s, event), &f);

	if (r)
		return r;
	f->clock = event == 0;
	r = session_profile(s, event, &f->profile);
	metadata_hostname(host, sizeof(host));
	if (!r)
		r = profile_string(&f->profile, host, &f->profile.meta.hostname);
	if (!r && config->options.command)
		r = profile_string(
			&f->profile, config->options.command[0], &f->profile.meta.command);
	if (r) {
		log_error(LOGGER, "Naming the profile of %s: %s", f->event, strerror(-r));
		finished_free(f);
		return r;
	}
	*ret = f;
	return 0;
}

static void settle(struct finished *f, int r)
{
	const struct finish_receipt receipt = f->receipt;

	f->receipt.fn = NULL;
	if (receipt.fn)
		receipt.fn(receipt.arg, &receipt, r);
}

void finished_free(struct finished *f)
{
	if (!f)
		return;
	settle(f, -ECANCELED);
	profile_deinit(&f->profile);
	finish_config_unref(f->config);
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

int finished_write(struct finished *f)
{
	const struct finish_config *config = f->config;
	const struct options *o = &config->options;
	_cleanup_json_ json_t *args = options_to_json(o);
	struct metadata_config metadata = {
		.run_arguments = args,
		.machine = config->machine,
		.container_names = o->container_names,
		.application_metadata = o->application_metadata,
		.hw_metrics = o->collect_hw_metrics,
		.continuous = o->continuous,
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
	_cleanup_close_ int text_fd = -1;
	int r, sent = 0;

	profile_seal(p);
	if (f->brief)
		output.formats &= ~(1u << OUTPUT_HTML);
	if (o->diagnostics && config->machine)
		diagnostics_turn(&config->machine->diagnostics);
	p->header = metadata_header(&metadata, p);
	json_object_set_new(p->header, "governor", governor_json(&f->marks));
	r = output_write(
		&output, p, f->several ? f->event : NULL, config->delivery ? &text_fd : NULL);
	if (config->delivery)
		sent = delivery_profile(config->delivery, p,
			&(struct delivery_text){
				.collapsed = &collapsed,
				.fd = text_fd,
				.page = o->flamegraph && !o->continuous,
			});
	settle(f, config->delivery ? sent : r);
	if (o->top) {
		summary_top(&text, p, (unsigned)o->top);
		buf_append_char(&text, '\n');
	}
	ledger_print(&text, &p->meta);
	report(o, &text);
	return r;
}
