/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/pack.h"

#include <errno.h>
#include <string.h>

#include "base/compress.h"
#include "base/json.h"

#define GZIP_LEVEL 6
#define LINE_MAX_BYTES ((size_t)24 << 20) // the server's longest is 25 MiB
#define HEADER_MAX_BYTES ((size_t)64 << 20) // with a page
#define BUCKETS 1024 // of processes, by hash
#define PARTS_AT_ONCE 4
#define PARTS_MAX 256
#define FILL 70 // percent of the wanted size that a part is planned for
#define TRIES_MAX 5 // of a plan
#define SMALLEST 4096 // an upload below this is not cut again

struct part {
	struct gzip_writer *gzip;
	struct upload upload;
	size_t compressed; // until it was over
	uint64_t lines, raw, raw_fitted; // bytes of text: all, and until it was over
	bool over; // its limit is passed: what comes is counted only
};

/* Which parts the processes of a bucket go to. */
struct bucket {
	uint64_t bytes;
	uint16_t first, count;
};

struct packer {
	const struct pack_job *job;
	struct pack_stats stats;
	struct part parts[PARTS_AT_ONCE];
	unsigned nparts, first; // of this pass: parts [first, first + nparts)
	size_t part_max;
	struct bucket *buckets;
	bool planned; // buckets say where lines go
	bool escaped; // text comes as the inside of a JSON string
	bool header_seen;
	unsigned columns; // of a line, before its frames
	struct buf line, json;
	int error;
};

static int part_sink(void *arg, const void *data, size_t len)
{
	struct part *p = arg;

	p->compressed += len;
	if (p->over)
		return 0;
	if (buf_append(&p->upload.member, data, len)) {
		p->over = true;
		p->raw_fitted = p->raw;
		buf_deinit(&p->upload.member);
	}
	return 0;
}

static int part_open(struct packer *k, struct part *p)
{
	int r;

	upload_init(&p->upload);
	p->upload.member.cap = k->part_max;
	p->compressed = p->lines = p->raw = p->raw_fitted = 0;
	p->over = false;
	r = upload_set_origin(&p->upload, &k->job->origin);
	if (!r)
		r = gzip_writer_new(GZIP_LEVEL, part_sink, p, &p->gzip);
	return r ? r : gzip_write(p->gzip, k->job->fields, strlen(k->job->fields));
}

/* What it would have been, whole. */
static size_t part_size(const struct part *p)
{
	double share = p->over && p->raw_fitted ? (double)p->raw / (double)p->raw_fitted : 1;

	return (size_t)MIN((double)p->compressed * share, (double)UPLOAD_TEXT_MAX);
}

static void part_close(struct part *p)
{
	gzip_writer_free(p->gzip);
	p->gzip = NULL;
	upload_deinit(&p->upload);
}

static uint32_t hash(const char *s, size_t len)
{
	uint32_t h = 2166136261u; // FNV-1a

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)s[i]) * 16777619u;
	return h ^ h >> 15;
}

/* How many bytes of a line say whose it is. */
static size_t owner_len(const struct packer *k, const char *line, size_t len)
{
	const char *s = line, *end = line + len;

	for (unsigned i = 0; i < k->columns; i++) {
		s = memchr(s, ';', (size_t)(end - s));
		if (!s)
			return len;
		s++;
	}
	return (size_t)(s - line);
}

static int write_text(struct packer *k, struct part *p, const char *line, size_t len)
{
	// A newline separates lines; none ends the text.
	static const char newline[] = "\\n";
	int r;

	p->raw += len + sizeof(newline) - 1;
	if (p->over)
		return 0;
	r = line[0] == '#' ? 0 : gzip_write(p->gzip, newline, sizeof(newline) - 1);

	if (r || k->escaped)
		return r ? r : gzip_write(p->gzip, line, len);
	buf_clear(&k->json);
	r = json_append_string(&k->json, line, len);
	return r ? r : gzip_write(p->gzip, k->json.data + 1, k->json.len - 2);
}

#define ESCAPED_PAGE "\\\"flamegraph_html\\\": "

/* Takes the page out of an escaped header. Return the new length. */
static size_t strip_page(char *line, size_t len)
{
	static const char none[] = "null";
	char *at = memmem(line, len, ESCAPED_PAGE, strlen(ESCAPED_PAGE)), *end = line + len, *s;

	if (!at)
		return len;
	at += strlen(ESCAPED_PAGE);
	if (end - at < 4 || at[0] != '\\' || at[1] != '"')
		return len;
	// A string within a string: its end is an escaped quote that no escaped backslash precedes.
	for (s = at + 2; end - s >= 2 && !(s[0] == '\\' && s[1] == '"');) {
		bool backslash = s[0] == '\\' && s[1] == '\\';

		s += s[0] == '\\' ? 2 : 1;
		if (backslash && s < end)
			s += s[0] == '\\' ? 2 : 1;
	}
	if (end - s < 2)
		return len;
	s += 2;
	memcpy(at, none, sizeof(none) - 1);
	at += sizeof(none) - 1;
	memmove(at, s, (size_t)(end - s));
	return (size_t)(at - line) + (size_t)(end - s);
}

/* Columns before the frames: gprofiler-agent.md 3.3. */
static int put_header(struct packer *k, char *line, size_t len)
{
	static const char no_index[] = "application_metadata_enabled\": false";
	static const char escaped_no_index[] = "application_metadata_enabled\\\": false";
	bool index = !memmem(line, len, no_index, sizeof(no_index) - 1) &&
		     !memmem(line, len, escaped_no_index, sizeof(escaped_no_index) - 1);

	// Packed again, it is the page that goes first.
	if (k->escaped)
		len = strip_page(line, len);
	k->columns = k->job->origin.v1 ? 1 : index ? 3 : 2;
	k->header_seen = true;
	for (unsigned i = 0; i < k->nparts; i++) {
		int r = write_text(k, &k->parts[i], line, len);

		if (r)
			return r;
	}
	return 0;
}

/* The count of a line, 0 if it is none that the server's indexer survives. */
static uint64_t line_count(const struct packer *k, const char *line, size_t len)
{
	const char *space = memrchr(line, ' ', len);
	uint64_t count = 0;

	if (!space || space == line || (size_t)(line + len - space) < 2 ||
		(size_t)(line + len - space) > 19)
		return 0;
	if (k->columns > 1 && !memchr(line, ';', (size_t)(space - line)))
		return 0;
	for (const char *s = space + 1; s < line + len; s++) {
		if (*s < '0' || *s > '9')
			return 0;
		count = count * 10 + (uint64_t)(*s - '0');
	}
	return count;
}

static int put_line(struct packer *k, char *line, size_t len)
{
	uint64_t count;
	struct bucket *b;
	unsigned at = 0;

	if (!k->header_seen)
		return len && line[0] == '#' ? put_header(k, line, len) : -EINVAL;
	if (!len)
		return 0;
	// A container or process may be called so; a second header there is not.
	if (line[0] == '#')
		line[0] = '_';
	count = line_count(k, line, len);
	if (!count || len > LINE_MAX_BYTES) {
		k->stats.lines_refused += !k->first;
		return 0;
	}
	b = &k->buckets[hash(line, owner_len(k, line, len)) % BUCKETS];
	if (k->planned)
		at = b->first + (b->count > 1 ? hash(line, len) % b->count : 0);
	else
		b->bytes += len + 2;
	if (k->first == 0) {
		k->stats.lines++;
		k->stats.samples += count;
	}
	if (at < k->first || at >= k->first + k->nparts)
		return 0;
	k->parts[at - k->first].lines++;
	return write_text(k, &k->parts[at - k->first], line, len);
}

static int end_line(struct packer *k)
{
	int r = put_line(k, k->line.data ? k->line.data : (char[1]){0}, k->line.len);

	buf_clear(&k->line);
	return r;
}

static int take_plain(struct packer *k, const char *data, size_t len)
{
	while (len) {
		const char *end = memchr(data, '\n', len);
		size_t n = end ? (size_t)(end - data) : len;
		int r = buf_append(&k->line, data, n);

		if (!r && end)
			r = end_line(k);
		if (r)
			return r;
		n += end != NULL;
		data += n;
		len -= n;
	}
	return 0;
}

static ssize_t on_write(void *cookie, const char *data, size_t len)
{
	struct packer *k = cookie;

	if (!k->error)
		k->error = take_plain(k, data, len);
	return k->error ? 0 : (ssize_t)len;
}

static int run_text(struct packer *k, bool page)
{
	FILE *f = fopencookie(k, "w", (cookie_io_functions_t){.write = on_write});
	int r;

	if (!f)
		return -ENOMEM;
	r = k->job->text(f, page, k->job->text_arg);
	if (fclose(f) && !r)
		r = -EIO;
	// What went wrong here says more than the writer's view of it.
	if (k->error)
		return k->error;
	return r || !k->line.len ? r : end_line(k);
}

/* One pass over the text into parts [first, first + n). */
static int pass(struct packer *k, unsigned first, unsigned n, bool page)
{
	int r = 0;

	k->first = first;
	k->header_seen = false;
	k->error = 0;
	buf_clear(&k->line);
	if (!first)
		k->stats.lines = k->stats.lines_refused = k->stats.samples = 0;
	for (k->nparts = 0; !r && k->nparts < n; k->nparts++)
		r = part_open(k, &k->parts[k->nparts]);
	if (!r)
		r = run_text(k, page);
	if (!r && !k->header_seen)
		r = -EINVAL;
	for (unsigned i = 0; !r && i < n; i++) {
		r = gzip_write(k->parts[i].gzip, "\"}", 2);
		if (!r)
			r = gzip_finish(k->parts[i].gzip);
	}
	return r;
}

static void end_pass(struct packer *k)
{
	for (unsigned i = 0; i < k->nparts; i++)
		part_close(&k->parts[i]);
	k->nparts = 0;
}

static int hand_out(struct packer *k)
{
	int r = 0;

	for (unsigned i = 0; !r && i < k->nparts; i++) {
		// Only the whole may be a header without stacks.
		if (k->planned && !k->parts[i].lines)
			continue;
		r = k->job->sink(&k->parts[i].upload, k->job->sink_arg);
		if (!r)
			k->stats.parts++;
	}
	return r;
}

/* Whole buckets fill one part after the other; one that is larger than a part gets several. */
static void plan(struct packer *k, unsigned nparts)
{
	uint64_t total = 0, filled = 0, goal;
	unsigned at = 0;

	for (unsigned i = 0; i < BUCKETS; i++)
		total += k->buckets[i].bytes;
	goal = total / nparts + 1;
	for (unsigned i = 0; i < BUCKETS; i++) {
		struct bucket *b = &k->buckets[i];
		unsigned count = (unsigned)(b->bytes / goal) + 1;

		if (filled && filled + b->bytes > goal + goal / 4 && at + 1 < nparts) {
			at++;
			filled = 0;
		}
		b->first = (uint16_t)at;
		b->count = (uint16_t)MIN(count, nparts - at);
		filled += b->bytes / b->count;
		if (b->count > 1) {
			at += b->count - 1;
			filled = b->bytes / b->count;
		}
	}
	k->planned = true;
}

/* All parts, a few at a time. Return 0; 1 if one of the first came out over part_max, nothing handed
 * out, with the size of the largest in ret_size; -errno. */
static int run_planned(struct packer *k, unsigned nparts, size_t *ret_size)
{
	for (unsigned first = 0; first < nparts; first += PARTS_AT_ONCE) {
		int r = pass(k, first, MIN(nparts - first, PARTS_AT_ONCE), false);

		*ret_size = 0;
		for (unsigned i = 0; r >= 0 && i < k->nparts; i++) {
			*ret_size = MAX(*ret_size, part_size(&k->parts[i]));
			if (k->parts[i].over)
				r = first ? -EFBIG : 1;
		}
		if (!r)
			r = hand_out(k);
		end_pass(k);
		if (r)
			return r;
		// The first ones told what a plan is worth; from here on what is a little larger
		// than wished is better than none.
		k->part_max = UPLOAD_MAX;
	}
	return 0;
}

/* The whole in one. Return 0 handed out, 1 too large with its size in ret_size, -errno. */
static int run_whole(struct packer *k, bool page, size_t *ret_size)
{
	int r;

	memset(k->buckets, 0, BUCKETS * sizeof(*k->buckets));
	r = pass(k, 0, 1, page);
	*ret_size = part_size(&k->parts[0]);
	if (!r)
		r = k->parts[0].over ? 1 : hand_out(k);
	end_pass(k);
	return r;
}

static int run_split(struct packer *k, size_t size)
{
	const size_t goal = k->job->preferred * FILL / 100 + 1;
	// What was cut before only has to become smaller.
	const size_t limit = k->escaped ? k->job->preferred / 4 * 7 : k->job->preferred;
	size_t nparts = size / goal + 1;

	// A header that is too large by itself.
	if (!k->stats.lines)
		return -EFBIG;
	// Parts compress worse than the whole, and differ: a plan that fails makes the next better.
	for (unsigned tries = 0; tries < TRIES_MAX; tries++) {
		int r;

		nparts = MAX(MIN(nparts, PARTS_MAX), 2);
		k->part_max = tries + 1 < TRIES_MAX ? limit : UPLOAD_MAX;
		plan(k, (unsigned)nparts);
		r = run_planned(k, (unsigned)nparts, &size);
		if (r != 1)
			return r;
		nparts = MAX(nparts * (size / goal + 1), nparts + 1);
	}
	return -EFBIG;
}

static int run_job(struct packer *k)
{
	size_t size;
	int r = 1;

	k->buckets = calloc(BUCKETS, sizeof(*k->buckets));
	if (!k->buckets)
		return -ENOMEM;
	k->part_max = k->job->preferred;
	if (k->job->page) {
		r = run_whole(k, true, &size);
		k->stats.page_dropped = r == 1;
	}
	if (r == 1)
		r = run_whole(k, false, &size);
	if (r == 1)
		r = run_split(k, size);
	return r;
}

static int run(const struct pack_job *job, bool escaped, struct pack_stats *ret)
{
	struct packer *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return -ENOMEM;
	k->job = job;
	k->escaped = escaped;
	k->line = BUF_INIT(HEADER_MAX_BYTES);
	k->json = BUF_INIT(2 * HEADER_MAX_BYTES);
	r = run_job(k);
	buf_deinit(&k->line);
	buf_deinit(&k->json);
	free(k->buckets);
	*ret = k->stats;
	free(k);
	return r;
}

int pack_profile(const struct pack_job *job, struct pack_stats *ret)
{
	return run(job, false, ret);
}

/* The text of an upload that was packed before, its escapes left as they are. */
struct unpack {
	const struct upload *upload;
	struct buf fields; // until `"profile": "` is seen
	FILE *f;
	bool in_text, backslash, ended;
};

#define TEXT_KEY "\"profile\": \""

static int unpack_text(struct unpack *x, const char *s, size_t len)
{
	for (size_t i = 0; i < len && !x->ended; i++) {
		if (x->backslash) {
			x->backslash = false;
			if (s[i] == 'n') {
				putc_unlocked('\n', x->f);
			} else {
				putc_unlocked('\\', x->f);
				putc_unlocked(s[i], x->f);
			}
		} else if (s[i] == '\\') {
			x->backslash = true;
		} else if (s[i] == '"') {
			x->ended = true;
		} else {
			putc_unlocked(s[i], x->f);
		}
	}
	return ferror(x->f) ? -EIO : 0;
}

static int unpack_sink(void *arg, const void *data, size_t len)
{
	struct unpack *x = arg;
	const char *s = data;

	while (len && !x->in_text) {
		size_t key = strlen(TEXT_KEY);

		if (buf_append_char(&x->fields, *s))
			return -EINVAL;
		s++;
		len--;
		x->in_text = x->fields.len >= key &&
			     !memcmp(x->fields.data + x->fields.len - key, TEXT_KEY, key);
	}
	return x->f ? unpack_text(x, s, len) : 0;
}

static int unpack_write(FILE *f, bool page, void *arg)
{
	struct unpack *x = arg;
	int r;

	(void)page;
	x->f = f;
	x->in_text = x->backslash = x->ended = false;
	buf_clear(&x->fields);
	r = gzip_inflate_to(
		x->upload->member.data, x->upload->member.len, UPLOAD_TEXT_MAX, unpack_sink, x);
	x->f = NULL;
	return r ? r : x->ended ? 0 : -EINVAL;
}

int pack_again(const struct upload *u, pack_sink_fn sink, void *arg)
{
	struct unpack x = {.upload = u, .fields = BUF_INIT(16384)};
	struct pack_stats stats;
	_cleanup_free_ char *fields = NULL;
	int r;

	if (u->member.len < SMALLEST)
		return -EFBIG;
	// The fields in front of the text first: each part starts with them.
	r = gzip_inflate_to(u->member.data, u->member.len, UPLOAD_TEXT_MAX, unpack_sink, &x);
	fields = x.in_text ? strdup(buf_str(&x.fields)) : NULL;
	if (!r && !x.in_text)
		r = -EINVAL;
	if (!r && !fields)
		r = -ENOMEM;
	if (!r)
		r = run(&(struct pack_job){.origin = u->origin,
				.fields = fields,
				.preferred = u->member.len / 2,
				.text = unpack_write,
				.text_arg = &x,
				.sink = sink,
				.sink_arg = arg},
			true, &stats);
	buf_deinit(&x.fields);
	return r;
}
