/* SPDX-License-Identifier: Apache-2.0 */
#include "export/import.h"

#include <errno.h>
#include <string.h>

#include "export/text.h"

#define EVENT_MAX 128

VEC_DEFINE(frame_ids, uint32_t)

struct importer {
	struct profile *p;
	const struct import_perf_options *options;
	struct import_stats *stats;
	struct frame_ids stack; // leaf first
	uint32_t context;
	uint64_t period;
	uint64_t now; // of the sample at hand, 0 unknown
	uint64_t first_ns, last_ns;
	bool any;
	int full; // -ENOSPC met in the sample at hand
};

static int text(struct importer *im, struct text_slice t, uint32_t *ret)
{
	return profile_string_n(im->p, t.s, t.len, ret);
}

static bool is_clock(struct text_slice event)
{
	return memmem(event.s, event.len, "-clock", strlen("-clock")) != NULL;
}

/* The first sample tells what is measured. */
static int first_sample(struct importer *im, const struct perf_script_header *h)
{
	struct profile *p = im->p;
	bool clock = is_clock(h->event);
	int r = profile_string(p, "samples", &p->types[0].type);

	if (!r)
		r = profile_string(p, "count", &p->types[0].unit);
	p->ntypes = 1;
	if (!r)
		r = profile_string(p, "perf script", &p->meta.source);
	if (!r)
		r = text(im, h->event, &p->meta.event);
	if (!r && h->period > 1 && h->event.len) {
		p->ntypes = 2;
		p->meta.period = h->period;
		if (clock)
			p->meta.frequency = (unsigned)(1000000000u / h->period);
		r = clock ? profile_string(p, "cpu", &p->types[1].type)
			  : text(im, h->event, &p->types[1].type);
		if (!r)
			r = profile_string(p, clock ? "nanoseconds" : "count", &p->types[1].unit);
	}
	im->first_ns = h->time_ns;
	im->any = true;
	return r;
}

/* A full table ends a sample, not the reading. */
static int soft(struct importer *im, int r)
{
	if (r != -ENOSPC)
		return r;
	im->full = r;
	return 0;
}

static int begin(void *arg, const struct perf_script_header *h)
{
	struct importer *im = arg;
	struct profile_context context = {
		.pid = (uint32_t)(h->pid == PERF_SCRIPT_NO_PID ? h->tid : h->pid),
		.tid = (uint32_t)h->tid,
	};
	int r = im->any ? 0 : first_sample(im, h);

	im->stack.len = 0;
	im->full = 0;
	im->period = h->period;
	im->now = h->has_time ? h->time_ns : 0;
	if (h->has_time) {
		im->first_ns = MIN(im->first_ns, h->time_ns);
		im->last_ns = MAX(im->last_ns, h->time_ns);
	}
	if (!r)
		r = text(im, h->comm, &context.comm);
	context.thread_comm = context.comm;
	if (!r)
		r = profile_context(im->p, &context, &im->context);
	return soft(im, r);
}

static int push(struct importer *im, struct profile_frame *f)
{
	uint32_t id;
	int r = profile_frame(im->p, f, &id);

	if (!r)
		r = frame_ids_push(&im->stack, id);
	return r;
}

static int no_symbol(struct importer *im, struct text_slice dso, struct profile_frame *f)
{
	_cleanup_buf_ struct buf name = BUF_INIT((size_t)2 << 20);

	f->flags |= PROFILE_FRAME_NO_SYMBOL;
	// 3.9: "(vdso)" for "[vdso]"
	if (dso.len > 2 && dso.s[0] == '[' && dso.s[dso.len - 1] == ']')
		dso = (struct text_slice){dso.s + 1, dso.len - 2};
	if (!dso.len || (dso.len == strlen("unknown") && memcmp(dso.s, "unknown", dso.len) == 0))
		return profile_string(im->p, "[unknown]", &f->name);
	buf_append_char(&name, '(');
	buf_append(&name, dso.s, dso.len);
	buf_append_char(&name, ')');
	return name.bad ? -ENOMEM : profile_string_n(im->p, name.data, name.len, &f->name);
}

static int frame(void *arg, const struct perf_script_frame *in)
{
	struct importer *im = arg;
	bool inlined = in->dso.len == strlen("inlined") && memcmp(in->dso.s, "inlined", 7) == 0;
	struct profile_frame f = {.kind = PROFILE_FRAME_NATIVE};
	bool unknown = !in->symbol.len || (in->symbol.len == strlen("[unknown]") &&
						  memcmp(in->symbol.s, "[unknown]", 9) == 0);
	int r;

	if (im->full)
		return 0;
	if (export_module_is_kernel(in->dso.s, in->dso.len))
		f.kind = PROFILE_FRAME_KERNEL;
	else if (export_module_is_jit(in->dso.s, in->dso.len))
		f.kind = PROFILE_FRAME_JIT;
	if (inlined)
		f.flags |= PROFILE_FRAME_INLINED;
	if (im->options->addresses && !inlined)
		f.address = perf_script_pc(in);
	r = unknown ? no_symbol(im, in->dso, &f) : text(im, in->symbol, &f.name);
	if (!r && !inlined && in->dso.len && memcmp(in->dso.s, "[unknown]", MIN(in->dso.len, 9u)))
		r = text(im, in->dso, &f.module);
	if (!r)
		r = push(im, &f);
	return soft(im, r);
}

static int end(void *arg, bool malformed)
{
	struct importer *im = arg;
	int64_t values[PROFILE_VALUES_MAX] = {1, (int64_t)MIN(im->period, (uint64_t)INT64_MAX)};
	uint32_t node = 0;
	int r = 0;

	if (malformed || !im->stack.len) {
		im->stats->bad += malformed;
		return 0;
	}
	for (size_t i = im->stack.len; i > 0 && !r && !im->full; i--)
		r = soft(im, profile_node(im->p, node, im->stack.data[i - 1], &node));
	if (!r && !im->full)
		r = soft(im, profile_add(im->p, im->context, node, values));
	if (!r && !im->full && im->now)
		r = timeline_add(
			&im->p->timeline, profile_sample_id(im->p, im->context, node), im->now, 1);
	if (!r)
		im->stats->samples += !im->full;
	im->stats->full += im->full != 0;
	return r;
}

int import_perf_script(struct text_reader *reader, const struct import_perf_options *options,
	struct profile *p, struct text_complaints *complaints, struct import_stats *ret)
{
	struct importer im = {.p = p, .options = options, .stats = ret};
	const struct perf_script_sink sink = {begin, frame, end, &im};
	const struct perf_script_options script = {.event = options->event};
	int r;

	*ret = (struct import_stats){0};
	frame_ids_init(&im.stack, 1 << 20);
	r = perf_script_read(reader, &script, &sink, complaints, &ret->script);
	frame_ids_deinit(&im.stack);
	if (im.last_ns > im.first_ns)
		p->meta.duration_ns = im.last_ns - im.first_ns;
	p->timeline.base -= MIN(p->timeline.base, im.first_ns);
	return r;
}
