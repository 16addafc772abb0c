/* SPDX-License-Identifier: Apache-2.0 */
/* gprofiler check: the rung this machine allows, why not a higher one, and what to do about it.
 * Takes no lock, starts nothing. Exit status: the table below (issue 2, section 2). */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "capture/probe.h"
#include "cli/cli.h"
#include "config/options.h"

#define COLUMNS 79
#define VERDICT_COLUMNS 9
#define NAME_COLUMNS 24
#define TEXT_COLUMN (VERDICT_COLUMNS + NAME_COLUMNS)
#define OUTPUT_MAX (1 << 20)

static const int statuses[] = {
	[PROBE_RUNG_BPF] = 0,
	[PROBE_RUNG_RING] = 10,
	[PROBE_RUNG_RING_OWN] = 11,
	[PROBE_RUNG_READER] = 12,
	[PROBE_RUNG_NONE] = 1,
};

/* Words of text, from column `at`, broken before COLUMNS and continued at `indent`. */
static void append_wrapped(struct buf *out, const char *text, size_t at, size_t indent)
{
	const char *gap = "";

	while (*text) {
		size_t n = strcspn(text, " ");

		if (at + strlen(gap) + n > COLUMNS && at > indent) {
			buf_printf(out, "\n%*s", (int)indent, "");
			at = indent;
			gap = "";
		}
		buf_printf(out, "%s%.*s", gap, (int)n, text);
		at += strlen(gap) + n;
		text += n;
		text += strspn(text, " ");
		gap = " ";
	}
	buf_append_char(out, '\n');
}

static void append_labelled(struct buf *out, const char *label, const char *text)
{
	char head[16];
	int n = snprintf(head, sizeof(head), "%s ", label);

	buf_printf(out, "%*s%s", TEXT_COLUMN, "", head);
	append_wrapped(out, text, TEXT_COLUMN + (size_t)n, TEXT_COLUMN + (size_t)n);
}

/* said: the remedy of the line before, which is not said twice. */
static void append_fact(struct buf *out, const struct probe_fact *f, const char *said)
{
	buf_printf(out, "%-*s%-*s", VERDICT_COLUMNS, probe_verdict_name(f->verdict), NAME_COLUMNS,
		f->name);
	append_wrapped(out, f->value, TEXT_COLUMN, TEXT_COLUMN);
	if (*f->consequence)
		append_labelled(out, "lost:", f->consequence);
	if (*f->remedy)
		append_labelled(
			out, "do:  ", strcmp(f->remedy, said) == 0 ? "as above" : f->remedy);
}

static void append_verdict(struct buf *out, const struct probe_report *r)
{
	const struct probe_fact *f = r->obstacle < 0 ? NULL : &r->facts[r->obstacle];
	_cleanup_buf_ struct buf text = BUF_INIT(4096);

	buf_printf(&text, "Rung: %s -- %s.", probe_rung_name(r->rung), probe_rung_text(r->rung));
	buf_append_char(out, '\n');
	append_wrapped(out, buf_str(&text), 0, 6);
	if (!f)
		return;
	buf_clear(&text);
	buf_printf(&text, "Why not %s: %s: %s.", probe_rung_name(r->rung - 1), f->name, f->value);
	append_wrapped(out, buf_str(&text), 0, 6);
	buf_clear(&text);
	buf_printf(&text, "To get there: %s.", f->remedy);
	append_wrapped(out, buf_str(&text), 0, 6);
}

static void append_table(struct buf *out, const struct probe_report *r)
{
	const char *said = "";

	buf_printf(out, "gprofiler %s on this machine\n\n", GP_VERSION);
	for (unsigned i = 0; i < PROBE_COUNT; i++) {
		append_fact(out, &r->facts[i], said);
		if (*r->facts[i].remedy)
			said = r->facts[i].remedy;
	}
	append_verdict(out, r);
}

static json_t *fact_to_json(const struct probe_fact *f)
{
	return json_pack("{s:s, s:s, s:s, s:i, s:o, s:o, s:o}", "id", f->id, "name", f->name,
		"verdict", probe_verdict_name(f->verdict), "errno", f->error, "value",
		json_text(f->value), "consequence",
		json_text(*f->consequence ? f->consequence : NULL), "remedy",
		json_text(*f->remedy ? f->remedy : NULL));
}

static int append_json(struct buf *out, const struct probe_report *r)
{
	_cleanup_json_ json_t *facts = json_array();
	_cleanup_json_ json_t *root = NULL;
	int err;

	for (unsigned i = 0; facts && i < PROBE_COUNT; i++)
		if (json_array_append_new(facts, fact_to_json(&r->facts[i])))
			return -1;
	root = json_pack("{s:s, s:s, s:i, s:s, s:s?, s:O}", "version", GP_VERSION, "rung",
		probe_rung_name(r->rung), "status", statuses[r->rung], "gives",
		probe_rung_text(r->rung), "obstacle",
		r->obstacle < 0 ? NULL : r->facts[r->obstacle].id, "facts", facts);
	err = root ? json_append(out, root) : -1;
	buf_append_char(out, '\n');
	return err;
}

int cli_check(const struct options *options, int argc, char **argv)
{
	_cleanup_buf_ struct buf out = BUF_INIT(OUTPUT_MAX);
	struct probe_report report;

	if (argc > 1) {
		fprintf(stderr,
			"usage: gprofiler check [--json]\n"
			"gprofiler: error: unrecognized arguments: %.64s\n",
			argv[1]);
		return 2;
	}
	probe_run("", &report);
	if (options->check_json)
		append_json(&out, &report);
	else
		append_table(&out, &report);
	if (out.bad || fputs(buf_str(&out), stdout) == EOF) {
		fputs("gprofiler: error: writing the result\n", stderr);
		return 1;
	}
	return statuses[report.rung];
}
