/* SPDX-License-Identifier: Apache-2.0 */
#include "export/html.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/compress.h"
#include "export/export.h"
#include "export/html_container.h"

#define GZIP_LEVEL 5 // -6 takes 1.7 times as long for 0.8 %
#define NAME_MAX_SHOWN 300 // code points of a name in the static table

/* base64 on its way to a FILE: up to two bytes wait for their third. */
struct base64 {
	FILE *f;
	uint8_t wait[3];
	unsigned nwait;
};

/* What the first write that failed said: html_write() clears errno, and who writes on does not. */
static int write_error(FILE *f)
{
	return !ferror(f) ? 0 : errno ? -errno : -EIO;
}

static void base64_group(struct base64 *b)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t v = (uint32_t)b->wait[0] << 16 | (uint32_t)b->wait[1] << 8 | b->wait[2];
	char text[4] = {digits[v >> 18], digits[v >> 12 & 63], digits[v >> 6 & 63], digits[v & 63]};

	if (b->nwait < 3)
		text[3] = '=';
	if (b->nwait < 2)
		text[2] = '=';
	fwrite_unlocked(text, 1, 4, b->f);
	memset(b->wait, 0, sizeof(b->wait));
	b->nwait = 0;
}

static int base64_sink(void *arg, const void *data, size_t len)
{
	struct base64 *b = arg;
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++) {
		b->wait[b->nwait++] = p[i];
		if (b->nwait == 3)
			base64_group(b);
	}
	return write_error(b->f);
}

/* The next code point of s, or 0xfffd for a bad byte. Returns the bytes taken, 0 at the end. */
static unsigned next_code_point(const char *s, uint32_t *ret)
{
	static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
	const uint8_t *p = (const uint8_t *)s;
	unsigned len = p[0] < 0x80 ? 1 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	uint32_t c = p[0];

	if (!p[0])
		return 0;
	*ret = 0xfffd;
	if (len == 1) {
		*ret = c;
		return 1;
	}
	if (c < 0xc2 || c >= 0xf5)
		return 1;
	c &= 0x7fu >> len;
	for (unsigned i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return i;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c >= least[len] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff))
		*ret = c;
	return len;
}

/* Invisible or direction-changing: shown by number (Unicode Bidi_Control, line separators). */
static bool is_unseen(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x2069) || c == 0xfeff;
}

static void text_limited(FILE *f, const char *s, size_t max)
{
	uint32_t c;
	unsigned n;

	for (; (n = next_code_point(s, &c)) != 0; s += n) {
		if (max-- == 0) {
			fputs("\xe2\x80\xa6", f);
			return;
		}
		if (is_unseen(c))
			fprintf(f, "&lt;U+%04X&gt;", c);
		else if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'')
			fprintf(f, "&#%u;", c);
		else if (c == 0xfffd)
			fputs("\xef\xbf\xbd", f);
		else
			fwrite(s, 1, n, f);
	}
}

void html_text(FILE *f, const char *s)
{
	text_limited(f, s, SIZE_MAX);
}

static void title(FILE *f, const struct profile *p, const struct html_compare *compare)
{
	const struct profile_meta *m = &p->meta;
	time_t seconds = (time_t)(m->start_real_ns / 1000000000);
	char when[32] = "";
	struct tm tm;

	if (m->start_real_ns && gmtime_r(&seconds, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &tm);
	fputs(compare ? "Comparison" : "Profile", f);
	if (m->hostname) {
		fputs(" of ", f);
		text_limited(f, profile_text(p, m->hostname), NAME_MAX_SHOWN);
	}
	if (when[0])
		fprintf(f, ", %s", when);
}

struct top_row {
	uint32_t fun;
	int64_t self, total;
};

static int compare_rows(const void *a, const void *b)
{
	int64_t x = ((const struct top_row *)a)->self, y = ((const struct top_row *)b)->self;

	return (x < y) - (x > y);
}

/* Self and recursion-safe total of value 0 by function, largest self first; *ret_sum the whole. */
static int top_rows(const struct html_tree *t, struct top_row *rows, int64_t *ret_sum)
{
	unsigned ntypes = t->p->ntypes;
	_cleanup_free_ int64_t *total = calloc(t->nnodes + 1ull, sizeof(*total));
	_cleanup_free_ uint32_t *end = calloc(t->nnodes + 1ull, sizeof(*end));
	_cleanup_free_ uint32_t *covered = calloc(t->nfuns + 1ull, sizeof(*covered));

	*ret_sum = 0;
	if (!ntypes)
		return 0;
	if (!total || !end || !covered)
		return -ENOMEM;
	for (uint32_t at = t->nnodes; at-- > 0;) {
		uint32_t i = t->order[at], parent = t->nodes[i].parent;

		if (end[i] == 0)
			end[i] = at + 1;
		total[i] += t->self[(size_t)i * ntypes];
		if (i) {
			total[parent] += total[i];
			if (end[parent] < end[i])
				end[parent] = end[i];
		}
	}
	for (uint32_t i = 0; i < t->nfuns; i++)
		rows[i] = (struct top_row){.fun = i};
	for (uint32_t at = 1; at < t->nnodes; at++) {
		uint32_t i = t->order[at], item = t->nodes[i].item;

		if (item >= t->nfuns)
			continue;
		rows[item].self += t->self[(size_t)i * ntypes];
		// Preorder: a frame inside another of its function lies before that one's end.
		if (at < covered[item])
			continue;
		covered[item] = end[i];
		rows[item].total += total[i];
	}
	qsort(rows, t->nfuns, sizeof(*rows), compare_rows);
	*ret_sum = total[0];
	return 0;
}

static double percent(int64_t part, int64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void ledger_text(FILE *f, const struct profile *p)
{
	const struct profile_ledger *l = &p->meta.ledger;

	if (!p->meta.has_ledger)
		return;
	fprintf(f,
		"<p>Sampler entries %" PRIu64 " of %" PRIu64 " expected: idle %" PRIu64
		", complete %" PRIu64 ", truncated %" PRIu64 ", broken %" PRIu64
		", lost in a ring %" PRIu64 "; not delivered by the kernel %" PRIu64
		", throttled %" PRIu64 ".</p>",
		l->entries, l->expected, l->idle,
		l->complete + l->kernel_only + l->finished_complete,
		l->truncated + l->finished_truncated, l->broken + l->finished_broken, l->lost_ring,
		l->not_delivered, l->throttled);
}

/* What is read where no script runs: text browsers, mail previews, old browsers. */
static int static_table(FILE *f, const struct html_tree *t)
{
	const struct profile *p = t->p;
	_cleanup_free_ struct top_row *rows = calloc(t->nfuns + 1ull, sizeof(*rows));
	int64_t sum;
	int r;

	if (!rows)
		return -ENOMEM;
	r = top_rows(t, rows, &sum);
	if (r)
		return r;
	fputs("<div id=\"static\"><h1>", f);
	title(f, p, NULL);
	fprintf(f, "</h1><p>%" PRId64 " ", sum);
	text_limited(f, p->ntypes ? profile_text(p, p->types[0].type) : "", NAME_MAX_SHOWN);
	fprintf(f, ", %u processes, %u Hz, %.1f s.</p>", t->processes, p->meta.frequency,
		(double)p->meta.duration_ns / 1e9);
	ledger_text(f, p);
	fputs("<table><caption>Functions with the most self samples</caption><tr><th>Self<th>Self "
	      "%<th>Total %<th>Function<th>Module</tr>",
		f);
	for (uint32_t i = 0; i < t->nfuns && i < HTML_STATIC_ROWS && rows[i].self; i++) {
		fprintf(f, "<tr><td>%" PRId64 "<td>%.1f<td>%.1f<td>", rows[i].self,
			percent(rows[i].self, sum), percent(rows[i].total, sum));
		text_limited(f, html_tree_fun_name(t, rows[i].fun), NAME_MAX_SHOWN);
		fputs("<td>", f);
		text_limited(f, profile_text(p, t->funs[rows[i].fun].module), NAME_MAX_SHOWN);
		fputs("</tr>\n", f);
	}
	fputs("</table></div>\n", f);
	return 0;
}

static int container(FILE *f, const struct html_tree *t, const struct html_compare *compare)
{
	struct base64 b = {.f = f};
	struct gzip_writer *w = NULL;
	_cleanup_buf_ struct buf meta = BUF_INIT(16 << 20);
	int r = html_meta(&meta, t, compare);

	if (!r)
		r = gzip_writer_new(GZIP_LEVEL, base64_sink, &b, &w);
	if (!r)
		r = html_container_write(w, t, &meta);
	if (!r)
		r = gzip_finish(w);
	gzip_writer_free(w);
	if (!r && b.nwait)
		base64_group(&b);
	return r;
}

int html_write(FILE *f, const struct profile *p, const struct html_options *options)
{
	const struct html_tree_options tree_options = {
		.budget = options->budget, .by_name = options->compare != NULL};
	_cleanup_html_tree_ struct html_tree t = {0};
	int r = html_tree_init(&t, p, &tree_options);

	if (r)
		return r;
	errno = 0;
	fwrite(ui_page_head, 1, ui_page_head_len, f);
	title(f, p, options->compare);
	fwrite(ui_page_body, 1, ui_page_body_len, f);
	r = static_table(f, &t);
	if (r)
		return r;
	fputs("<script type=\"text/plain\" id=\"profile\">", f);
	r = container(f, &t, options->compare);
	if (r)
		return r;
	fputs("</script>\n", f);
	fwrite(ui_page_tail, 1, ui_page_tail_len, f);
	return write_error(f);
}

int export_html(FILE *f, const struct profile *p)
{
	return html_write(f, p, &(struct html_options){0});
}
