/* SPDX-License-Identifier: Apache-2.0 */
#include "export/perf_script.h"

#include <errno.h>
#include <string.h>

#define EVENT_NAME_MAX 128 // of the first event seen
#define SURE_PC_DIGITS 6

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The value of a hexadecimal digit, -1 for other bytes. A table: this runs for every byte of
 * every address. */
static int hex_value(char c)
{
	static const uint8_t value[256] = {
		['0'] = 1,
		['1'] = 2,
		['2'] = 3,
		['3'] = 4,
		['4'] = 5,
		['5'] = 6,
		['6'] = 7,
		['7'] = 8,
		['8'] = 9,
		['9'] = 10,
		['a'] = 11,
		['b'] = 12,
		['c'] = 13,
		['d'] = 14,
		['e'] = 15,
		['f'] = 16,
		['A'] = 11,
		['B'] = 12,
		['C'] = 13,
		['D'] = 14,
		['E'] = 15,
		['F'] = 16,
	};

	return value[(unsigned char)c] - 1;
}

static const char *skip_blanks(const char *s, const char *end)
{
	while (s < end && is_blank(*s))
		s++;
	return s;
}

static const char *skip_word(const char *s, const char *end)
{
	while (s < end && !is_blank(*s))
		s++;
	return s;
}

/* Digits up to `end` or a byte that is none; *s moves behind them. False if there is none or they
 * do not fit. */
static bool take_number(const char **s, const char *end, uint64_t *ret)
{
	const char *p = *s;
	uint64_t v = 0;

	for (; p < end && is_digit(*p); p++)
		if (__builtin_mul_overflow(v, 10, &v) ||
			__builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return false;
	if (p == *s)
		return false;
	*s = p;
	*ret = v;
	return true;
}

static bool take_id(const char **s, const char *end, int64_t *ret)
{
	const char *p = *s;
	bool negative = p < end && *p == '-';
	uint64_t v;

	p += negative;
	if (!take_number(&p, end, &v) || v > INT32_MAX)
		return false;
	*ret = negative ? -(int64_t)v : (int64_t)v;
	*s = p;
	return true;
}

/* "123", "123/456": a whole word. */
static bool parse_ids(const char *s, const char *end, struct perf_script_header *h)
{
	int64_t first;

	if (!take_id(&s, end, &first))
		return false;
	h->pid = PERF_SCRIPT_NO_PID;
	h->tid = first;
	if (s == end)
		return true;
	if (*s++ != '/')
		return false;
	h->pid = first;
	return take_id(&s, end, &h->tid) && s == end;
}

/* "12.345678:", a whole word. Digits beyond the ninth are dropped. */
static bool parse_time(const char *s, const char *end, uint64_t *ret)
{
	uint64_t seconds, scale = 100000000, ns = 0;

	if (!take_number(&s, end, &seconds) || seconds > UINT64_MAX / 1000000000u - 1)
		return false;
	if (s == end || *s++ != '.')
		return false;
	for (; s < end && is_digit(*s); s++, scale /= 10)
		ns += (uint64_t)(*s - '0') * scale;
	*ret = seconds * 1000000000u + ns;
	return s + 1 == end && *s == ':';
}

/* perf's interrupt and preemption flags, "d.h1.", between cpu and time. */
static bool is_flags(const char *s, const char *end)
{
	if (end - s < 4 || end - s > 6)
		return false;
	for (; s < end; s++)
		if (!strchr(".dnDNpPbBhHsSzZX#0123456789abcdef", *s))
			return false;
	return true;
}

/* What follows the ids: [cpu]? flags? time? period? event. Leaves ret_rest behind the event.
 * Return true if there is a time or an event, so that this is a header beyond doubt. */
static bool parse_tail(
	const char *s, const char *end, struct perf_script_header *h, struct text_slice *ret_rest)
{
	bool sure = false;

	h->has_time = false;
	h->period = 1;
	h->event = (struct text_slice){s, 0};
	for (s = skip_blanks(s, end); s < end; s = skip_blanks(s, end)) {
		const char *word = s, *after = skip_word(s, end);
		uint64_t n;

		s = after;
		if (!h->has_time && parse_time(word, after, &h->time_ns)) {
			h->has_time = sure = true;
			continue;
		}
		if (after[-1] == ':' && after - word > 1) {
			h->event = (struct text_slice){word, (size_t)(after - word) - 1};
			sure = true;
			break;
		}
		if (word[0] == '[')
			continue;
		if (take_number(&word, after, &n) && word == after) {
			h->period = n;
			continue;
		}
		if (h->has_time || !is_flags(word, after))
			break;
	}
	*ret_rest = (struct text_slice){s, (size_t)(end - s)};
	return sure;
}

bool perf_script_parse_header(const char *s, size_t len, bool first_number,
	struct perf_script_header *ret, struct text_slice *ret_rest)
{
	const char *end = s + len, *comm = skip_blanks(s, end), *word, *after;

	if (comm == end)
		return false;
	// The first word belongs to the comm even if it is a number.
	for (word = skip_blanks(skip_word(comm, end), end); word < end;
		word = skip_blanks(after, end)) {
		const char *comm_end = word;

		after = skip_word(word, end);
		if (!parse_ids(word, after, ret))
			continue;
		while (is_blank(comm_end[-1]))
			comm_end--;
		ret->comm = (struct text_slice){comm, (size_t)(comm_end - comm)};
		if (parse_tail(after, end, ret, ret_rest) || first_number)
			return true;
	}
	return false;
}

/* The '(' that the ')' at `close` belongs to, or NULL. */
static const char *find_open(const char *s, const char *close)
{
	const char *open = memrchr(s, '(', (size_t)(close - s));
	unsigned depth = 0;

	if (!open || !memchr(open, ')', (size_t)(close - open)))
		return open;
	// "(/lib/x.so (deleted))", "(/opt/App (x86)/lib.so)"
	for (const char *p = close; p-- > s;) {
		if (*p == ')')
			depth++;
		else if (*p == '(' && depth-- == 0)
			return p;
	}
	return open;
}

bool perf_script_parse_frame(const char *s, size_t len, struct perf_script_frame *ret)
{
	const char *end = s + len, *pc, *p, *open, *symbol_end, *x;

	if (len == 0 || !is_blank(*s))
		return false;
	while (end > s && is_blank(end[-1]))
		end--;
	pc = skip_blanks(s, end);
	for (p = pc; p < end && hex_value(*p) >= 0; p++)
		;
	if (p == pc || p - pc > 16 || p == end || !is_blank(*p) || end[-1] != ')')
		return false;
	ret->pc = (struct text_slice){pc, (size_t)(p - pc)};
	p = skip_blanks(p, end);
	open = find_open(p, end - 1);
	if (!open || (open > p && !is_blank(open[-1])))
		return false;
	ret->dso = (struct text_slice){open + 1, (size_t)(end - 1 - (open + 1))};
	symbol_end = open;
	while (symbol_end > p && is_blank(symbol_end[-1]))
		symbol_end--;
	ret->offset = false;
	// Only a whole "+0x1f" at the end is an offset: "operator+" is a name.
	for (x = symbol_end; x > p && hex_value(x[-1]) >= 0; x--)
		;
	if (x < symbol_end && x - p > 3 && x[-1] == 'x' && x[-2] == '0' && x[-3] == '+') {
		symbol_end = x - 3;
		ret->offset = true;
	}
	ret->symbol = (struct text_slice){p, (size_t)(symbol_end - p)};
	return true;
}

uint64_t perf_script_pc(const struct perf_script_frame *frame)
{
	uint64_t v = 0;

	for (size_t i = 0; i < frame->pc.len; i++)
		v = v << 4 | (uint64_t)hex_value(frame->pc.s[i]);
	return v;
}

struct parse {
	const struct perf_script_options *options;
	const struct perf_script_sink *sink;
	struct text_complaints *complaints;
	struct perf_script_stats *stats;
	uint64_t line;
	enum { OUTSIDE, WANTED, UNWANTED, LOST } state;
	bool malformed;
	char first_event[EVENT_NAME_MAX];
	size_t first_event_len;
	bool seen_event;
};

static bool same_text(struct text_slice a, const char *s, size_t len)
{
	return a.len == len && memcmp(a.s, s, len) == 0;
}

static bool event_wanted(struct parse *p, struct text_slice event)
{
	const char *filter = p->options->event;
	struct text_slice known = {event.s, MIN(event.len, sizeof(p->first_event))};
	bool first;

	if (!p->seen_event) {
		p->seen_event = true;
		p->first_event_len = known.len;
		memcpy(p->first_event, known.s, known.len);
	}
	first = same_text(known, p->first_event, p->first_event_len);
	p->stats->events = MAX(p->stats->events, first ? 1u : 2u);
	if (filter) {
		size_t len = strlen(filter);

		// "cycles" also means "cycles:u"
		return event.len >= len && memcmp(event.s, filter, len) == 0 &&
		       (event.len == len || event.s[len] == ':');
	}
	return first || !p->options->first_event;
}

static int finish(struct parse *p)
{
	int r = 0;

	if (p->state == WANTED) {
		r = p->sink->end(p->sink->arg, p->malformed);
		p->stats->samples++;
	}
	p->state = OUTSIDE;
	p->malformed = false;
	return r;
}

static int start(struct parse *p, const struct perf_script_header *header, struct text_slice rest)
{
	struct perf_script_frame frame;
	int r;

	if (event_wanted(p, header->event)) {
		r = p->sink->begin(p->sink->arg, header);
		if (r < 0)
			return r;
		p->state = r == PERF_SCRIPT_SKIP ? UNWANTED : WANTED;
	} else {
		p->stats->other_events++;
		p->state = UNWANTED;
	}
	// "event: pc symbol (dso)" is a sample in one line (perf script -G).
	if (!perf_script_parse_frame(rest.s, rest.len, &frame))
		return 0;
	r = p->state == WANTED ? p->sink->frame(p->sink->arg, &frame) : 0;
	return r ? r : finish(p);
}

/* Lines that are neither samples nor mistakes: side-band records of --show-*-events and perf's
 * own remarks about lost ones. */
static bool is_record(const char *s, size_t len)
{
	return memmem(s, len, "PERF_RECORD_", strlen("PERF_RECORD_")) != NULL;
}

/* "  main.c:12" or "  libc.so.6[29d90]": what -F +srcline prints below a frame. */
static bool is_source_line(const char *s, size_t len)
{
	size_t digits = 0;

	if (!is_blank(s[0]))
		return false;
	while (digits < len && is_digit(s[len - 1 - digits]))
		digits++;
	if (digits)
		return digits < len && s[len - 1 - digits] == ':';
	return s[len - 1] == ']' && memchr(s, '[', len) && !memchr(s, '(', len);
}

static int outside(struct parse *p, const char *s, size_t len)
{
	struct perf_script_header header;
	struct text_slice rest;

	if (perf_script_parse_header(s, len, p->options->first_number, &header, &rest) &&
		!is_record(s, len))
		return start(p, &header, rest);
	if (is_record(s, len))
		return 0;
	text_complain(p->complaints, p->line, "not the first line of a sample: \"%.*s\"",
		(int)MIN(len, 80u), s);
	p->state = LOST;
	return 0;
}

static int take_line(struct parse *p, const char *s, size_t len)
{
	struct perf_script_header header;
	struct perf_script_frame frame;
	struct text_slice rest;
	int r;

	if (len == 0 || skip_blanks(s, s + len) == s + len)
		return finish(p);
	if (s[0] == '#' && (p->state == OUTSIDE || p->state == LOST))
		return 0;
	if (p->state == OUTSIDE)
		return outside(p, s, len);
	// A short "address" may be a comm: "  dd 77 [000] 1.2: probe:x: (y)".
	if (perf_script_parse_frame(s, len, &frame) &&
		(frame.pc.len >= SURE_PC_DIGITS ||
			!perf_script_parse_header(s, len, false, &header, &rest)))
		return p->state == WANTED ? p->sink->frame(p->sink->arg, &frame) : 0;
	// No blank line between: samples without callchains, or text that lost a line.
	if (perf_script_parse_header(s, len, false, &header, &rest) && !is_record(s, len)) {
		r = finish(p);
		return r ? r : start(p, &header, rest);
	}
	if (p->state == WANTED && !is_record(s, len) && !is_source_line(s, len)) {
		text_complain(
			p->complaints, p->line, "not a frame: \"%.*s\"", (int)MIN(len, 80u), s);
		p->malformed = true;
	}
	return 0;
}

int perf_script_read(struct text_reader *reader, const struct perf_script_options *options,
	const struct perf_script_sink *sink, struct text_complaints *complaints,
	struct perf_script_stats *ret_stats)
{
	struct parse p = {
		.options = options,
		.sink = sink,
		.complaints = complaints,
		.stats = ret_stats,
	};

	*ret_stats = (struct perf_script_stats){0};
	for (;;) {
		const char *s;
		size_t len;
		int r = text_reader_next(reader, &s, &len);

		p.line = reader->line;
		if (r == TEXT_READER_END)
			return finish(&p);
		if (r == TEXT_READER_TOO_LONG) {
			text_complain(complaints, p.line, "line of more than %zu bytes",
				reader->max_line);
			p.malformed = p.state == WANTED;
			continue;
		}
		if (r < 0)
			return r;
		r = take_line(&p, s, len);
		if (r)
			return r;
	}
}
