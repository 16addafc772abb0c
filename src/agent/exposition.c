/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/exposition.h"

#include <errno.h>
#include <string.h>

static const char *const kinds[] = {[METRIC_GAUGE] = "gauge", [METRIC_COUNTER] = "counter"};

static void head(struct buf *out, const char *name, enum metric_kind kind, const char *help)
{
	buf_printf(out, "# HELP " METRICS_PREFIX "%s %s\n# TYPE " METRICS_PREFIX "%s %s\n", name,
		help, name, kinds[kind]);
}

/* Whole numbers in full: "1.04858e+06" is hard to read and loses bytes. */
static void value(struct buf *out, const char *name, const char *labels, double v)
{
	buf_printf(out, METRICS_PREFIX "%s%s%s%s ", name, *labels ? "{" : "", labels,
		*labels ? "}" : "");
	if (v >= 0 && v < 1e15 && v == (double)(unsigned long long)v)
		buf_printf(out, "%llu\n", (unsigned long long)v);
	else
		buf_printf(out, "%.6f\n", v);
}

static void own_rows(struct buf *out, const struct metric_values *values)
{
	const char *last = "";

	for (unsigned id = 0; id < METRIC_COUNT; id++) {
		const struct metric_row *row = &metric_rows[id];

		if (strcmp(row->name, last))
			head(out, row->name, row->kind, row->help);
		last = row->name;
		value(out, row->name, row->labels, metric_get(values, id));
	}
}

/* The rows of the ledger, by kind: each family together. */
static void ledger_rows(struct buf *out, const uint64_t *ledger)
{
	static const struct {
		const char *name, *label, *help;
	} families[] = {
		[COUNTER_ENTRY] = {"samples_total", "outcome",
			"entries of the sampler by outcome; their sum is ledger_total{count=\"entries\"}"},
		[COUNTER_SUM] = {"ledger_total", "count",
			"the loss ledger's sums over all windows: samples, or frames"},
		[COUNTER_LOSS] = {"losses_total", "reason",
			"what is missing from the output or was seen in part only, by reason"},
	};

	for (unsigned kind = 0; kind < sizeof(families) / sizeof(families[0]); kind++) {
		head(out, families[kind].name, METRIC_COUNTER, families[kind].help);
		counter_each(id, COUNTER_GROUP_LEDGER)
		{
			char labels[96];

			if (counter_rows[id].kind != kind)
				continue;
			snprintf(labels, sizeof(labels), "%s=\"%s\"", families[kind].label,
				counter_rows[id].name);
			value(out, families[kind].name, labels, (double)ledger[id]);
		}
	}
}

int exposition_write(struct buf *out, const struct vitals_report *report)
{
	const struct vitals_words *w = &report->words;
	char labels[256];

	head(out, "info", METRIC_GAUGE, "1; what this agent is, in labels");
	snprintf(labels, sizeof(labels),
		"version=\"" GP_VERSION "\",rung=\"%s\",event=\"%s\",state=\"%s\",scope=\"%s\"",
		w->rung, w->event, w->state, w->scope);
	value(out, "info", labels, 1);
	own_rows(out, &report->values);
	ledger_rows(out, report->ledger);
	return out->bad ? -ENOMEM : 0;
}
