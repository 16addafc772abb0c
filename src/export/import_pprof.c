/* SPDX-License-Identifier: Apache-2.0 */
/* profile.proto read back. Fields may come in any order, so the message is gone over twice: tables
 * first, samples after. Every length is checked by the cursor; ids that are not there give
 * "[unknown]". */
#include "export/import.h"

#include <errno.h>
#include <string.h>

#include "base/compress.h"
#include "base/cursor.h"
#include "export/text.h"

#define INFLATED_MAX ((size_t)1 << 30)
#define STACK_MAX 65536 // frames of one sample

struct piece {
	const void *data;
	size_t len;
};
VEC_DEFINE(pieces, struct piece)

struct value_type {
	uint64_t type, unit;
};

struct line {
	uint64_t function, line;
};
VEC_DEFINE(frame_ids, uint32_t)

struct importer {
	struct profile *p;
	struct text_complaints *complaints;
	struct import_stats *stats;
	struct pieces strings, mappings, locations, functions;
	struct map mapping_by_id, location_by_id, function_by_id; // id -> index
	struct value_type types[PROFILE_VALUES_MAX];
	struct value_type period_type;
	struct frame_ids frames; // of all locations met
	struct map frames_of; // location id -> first in frames << 32 | count
	struct frame_ids stack; // leaf first
	uint64_t number; // of the sample at hand
};

/* One field of a message. */
struct field {
	unsigned number;
	unsigned wire;
	uint64_t value; // wire 0
	struct cursor bytes; // wire 2
};

/* False at the end or on malformed bytes (c->bad). */
static bool next_field(struct cursor *c, struct field *ret)
{
	uint64_t key;

	if (!cursor_left(c))
		return false;
	key = cursor_uleb(c);
	*ret = (struct field){.number = (unsigned)(key >> 3), .wire = key & 7};
	switch (ret->wire) {
	case 0:
		ret->value = cursor_uleb(c);
		break;
	case 1:
		ret->value = cursor_u64(c);
		break;
	case 2: {
		uint64_t len = cursor_uleb(c);

		if (len > cursor_left(c))
			c->bad = true;
		else
			ret->bytes = cursor_sub(c, (size_t)len);
		break;
	}
	case 5:
		ret->value = cursor_u32(c);
		break;
	default:
		c->bad = true;
	}
	return !c->bad && key >> 3 <= UINT32_MAX;
}

static int text(struct importer *im, uint64_t index, uint32_t *ret)
{
	*ret = 0;
	if (index >= im->strings.len)
		return 0;
	return profile_string_n(
		im->p, im->strings.data[index].data, im->strings.data[index].len, ret);
}

/* Bytes of a string, NUL bytes and all. */
static struct text_slice slice(const struct importer *im, uint64_t index)
{
	if (index >= im->strings.len)
		return (struct text_slice){"", 0};
	return (struct text_slice){im->strings.data[index].data, im->strings.data[index].len};
}

static bool slice_is(struct text_slice t, const char *s)
{
	return t.len == strlen(s) && memcmp(t.s, s, t.len) == 0;
}

static struct value_type read_value_type(struct cursor c)
{
	struct value_type t = {0};
	struct field f;

	while (next_field(&c, &f)) {
		if (f.number == 1)
			t.type = f.value;
		if (f.number == 2)
			t.unit = f.value;
	}
	return t;
}

static int add_piece(struct pieces *list, struct map *ids, struct cursor c)
{
	struct piece piece = {c.pos, (size_t)(c.end - c.pos)};
	struct field f;
	int r;

	while (ids && next_field(&c, &f)) {
		if (f.number != 1 || f.wire != 0)
			continue;
		r = map_set(ids, f.value, list->len);
		if (r)
			return r;
		break;
	}
	return pieces_push(list, piece);
}

static int take_table(struct importer *im, const struct field *f)
{
	struct profile *p = im->p;

	switch (f->number) {
	case 1:
		if (f->wire == 2 && p->ntypes < PROFILE_VALUES_MAX)
			im->types[p->ntypes++] = read_value_type(f->bytes);
		return 0;
	case 3:
		return f->wire == 2 ? add_piece(&im->mappings, &im->mapping_by_id, f->bytes) : 0;
	case 4:
		return f->wire == 2 ? add_piece(&im->locations, &im->location_by_id, f->bytes) : 0;
	case 5:
		return f->wire == 2 ? add_piece(&im->functions, &im->function_by_id, f->bytes) : 0;
	case 6:
		return f->wire == 2 ? add_piece(&im->strings, NULL, f->bytes) : 0;
	case 9:
		p->meta.start_real_ns = f->value;
		return 0;
	case 10:
		p->meta.duration_ns = f->value;
		return 0;
	case 11:
		if (f->wire == 2)
			im->period_type = read_value_type(f->bytes);
		return 0;
	case 12:
		p->meta.period = f->value;
		return 0;
	}
	return 0;
}

/* The message with an id; an empty one if there is none. */
static struct cursor lookup(const struct pieces *list, const struct map *ids, uint64_t id)
{
	uint64_t *index = map_get(ids, id);

	if (!index || *index >= list->len)
		return cursor_make("", 0);
	return cursor_make(list->data[*index].data, list->data[*index].len);
}

static int read_mapping(struct importer *im, uint64_t id, struct profile_frame *ret)
{
	struct cursor c = lookup(&im->mappings, &im->mapping_by_id, id);
	struct text_slice path;
	uint64_t file = 0;
	struct field f;
	int r = 0;

	while (!r && next_field(&c, &f)) {
		if (f.number == 5) {
			file = f.value;
			r = text(im, f.value, &ret->module);
		}
		if (f.number == 6)
			r = text(im, f.value, &ret->build_id);
	}
	path = slice(im, file);
	ret->kind = PROFILE_FRAME_NATIVE;
	if (path.len && export_module_is_kernel(path.s, path.len))
		ret->kind = PROFILE_FRAME_KERNEL;
	else if (path.len && export_module_is_jit(path.s, path.len))
		ret->kind = PROFILE_FRAME_JIT;
	return r;
}

static int read_function(struct importer *im, const struct line *line, struct profile_frame *ret)
{
	struct cursor c = lookup(&im->functions, &im->function_by_id, line->function);
	struct text_slice file = {"", 0};
	struct field f;
	int r = 0;

	ret->line = (uint32_t)MIN(line->line, (uint64_t)UINT32_MAX);
	while (!r && next_field(&c, &f)) {
		if (f.number == 2)
			r = text(im, f.value, &ret->name);
		if (f.number == 3)
			r = text(im, f.value, &ret->system_name);
		if (f.number == 4) {
			r = text(im, f.value, &ret->file);
			file = slice(im, f.value);
		}
		if (f.number == 5)
			ret->start_line = (uint32_t)MIN(f.value, (uint64_t)UINT32_MAX);
	}
	if (ret->system_name == ret->name)
		ret->system_name = 0;
	if (ret->kind == PROFILE_FRAME_NATIVE && file.len > 3 &&
		memcmp(file.s + file.len - 3, ".go", 3) == 0)
		ret->kind = PROFILE_FRAME_GO;
	if (ret->kind == PROFILE_FRAME_NATIVE && file.len > 3 &&
		memcmp(file.s + file.len - 3, ".rs", 3) == 0)
		ret->kind = PROFILE_FRAME_RUST;
	return r;
}

static int unnamed(struct importer *im, struct profile_frame *f)
{
	_cleanup_buf_ struct buf name = BUF_INIT((size_t)1 << 20);
	const char *module = profile_text(im->p, f->module);

	f->flags |= PROFILE_FRAME_NO_SYMBOL;
	if (f->module)
		buf_printf(&name, module[0] == '(' ? "%s" : "(%s)", module);
	return profile_string(im->p, name.len ? name.data : "[unknown]", &f->name);
}

static int push_frame(struct importer *im, struct profile_frame *f)
{
	struct text_slice name;
	uint32_t id;
	int r = 0;

	if (!f->name)
		r = unnamed(im, f);
	name = (struct text_slice){profile_text(im->p, f->name), 0};
	name.len = strlen(name.s);
	// Our own files carry "(path)" as the name of what has no symbol.
	if (export_text_is_path(name.s, name.len))
		f->flags |= PROFILE_FRAME_NO_SYMBOL;
	if (name.len > 2 && name.s[0] == '[' && !f->module)
		f->kind = PROFILE_FRAME_META;
	if (!r)
		r = profile_frame(im->p, f, &id);
	return r ? r : frame_ids_push(&im->frames, id);
}

/* The frames of one location, innermost first, appended to im->frames. */
static int read_location(struct importer *im, uint64_t id)
{
	struct cursor c = lookup(&im->locations, &im->location_by_id, id), lines = c;
	struct profile_frame base = {0};
	unsigned count = 0, seen = 0;
	struct field f;
	int r = 0;

	while (!r && next_field(&c, &f)) {
		if (f.number == 2)
			r = read_mapping(im, f.value, &base);
		if (f.number == 3)
			base.address = f.value;
		count += f.number == 4 && f.wire == 2;
	}
	while (!r && next_field(&lines, &f)) {
		struct value_type line; // the same two numbers
		struct profile_frame frame = base;

		if (f.number != 4 || f.wire != 2)
			continue;
		line = read_value_type(f.bytes);
		if (++seen < count)
			frame.flags |= PROFILE_FRAME_INLINED;
		r = read_function(im, &(struct line){line.type, line.unit}, &frame);
		if (!r)
			r = push_frame(im, &frame);
	}
	if (!r && !seen)
		r = push_frame(im, &base);
	return r;
}

/* A location is decoded once, however many samples go through it. */
static int push_location(struct importer *im, uint64_t id)
{
	uint64_t *known = map_get(&im->frames_of, id);
	size_t first = im->frames.len;
	int r = 0;

	if (known) {
		first = (size_t)(*known >> 32);
	} else {
		r = read_location(im, id);
		if (!r)
			r = map_set(&im->frames_of, id,
				(uint64_t)first << 32 | (im->frames.len - first));
		known = map_get(&im->frames_of, id);
	}
	for (uint32_t n = 0; !r && n < (uint32_t)*known; n++)
		r = frame_ids_push(&im->stack, im->frames.data[first + n]);
	return r;
}

static int read_label(struct importer *im, struct cursor c, struct profile_context *who)
{
	uint64_t key = 0, str = 0, num = 0;
	struct text_slice name;
	struct field f;

	while (next_field(&c, &f)) {
		if (f.number == 1)
			key = f.value;
		if (f.number == 2)
			str = f.value;
		if (f.number == 3)
			num = f.value;
	}
	name = slice(im, key);
	if (slice_is(name, "pid"))
		who->pid = (uint32_t)num;
	else if (slice_is(name, "tid") || slice_is(name, "thread_id"))
		who->tid = (uint32_t)num;
	else if (slice_is(name, "comm") || slice_is(name, "process"))
		return text(im, str, &who->comm);
	else if (slice_is(name, "thread") || slice_is(name, "thread_name"))
		return text(im, str, &who->thread_comm);
	else if (slice_is(name, "container"))
		return text(im, str, &who->container);
	else if (slice_is(name, "appid"))
		return text(im, str, &who->appid);
	return 0;
}

/* A repeated number, packed or not. */
static int read_sample_field(struct importer *im, const struct field *f, int64_t *values,
	unsigned *nvalues, struct profile_context *who)
{
	struct cursor c = f->bytes;
	int r = 0;

	if (f->number == 3 && f->wire == 2)
		return read_label(im, c, who);
	if (f->number == 1 && f->wire == 0)
		return push_location(im, f->value);
	if (f->number == 2 && f->wire == 0 && *nvalues < PROFILE_VALUES_MAX)
		values[(*nvalues)++] = (int64_t)f->value;
	while (!r && f->wire == 2 && cursor_left(&c)) {
		uint64_t v = cursor_uleb(&c);

		if (c.bad)
			return -EINVAL;
		if (f->number == 1)
			r = push_location(im, v);
		else if (f->number == 2 && *nvalues < PROFILE_VALUES_MAX)
			values[(*nvalues)++] = (int64_t)v;
	}
	return r;
}

static int take_sample(struct importer *im, struct cursor c)
{
	int64_t values[PROFILE_VALUES_MAX] = {0};
	struct profile_context who = {0};
	uint32_t context, node = 0;
	unsigned nvalues = 0;
	struct field f;
	int r = 0;

	im->stack.len = 0;
	while (!r && next_field(&c, &f))
		r = read_sample_field(im, &f, values, &nvalues, &who);
	if (!r && (c.bad || nvalues == 0))
		r = -EINVAL;
	if (!r)
		r = profile_context(im->p, &who, &context);
	for (size_t i = im->stack.len; i > 0 && !r; i--)
		r = profile_node(im->p, node, im->stack.data[i - 1], &node);
	return r ? r : profile_add(im->p, context, node, values);
}

static int take_samples(struct importer *im, struct cursor c)
{
	struct field f;

	while (next_field(&c, &f)) {
		int r;

		if (f.number != 2 || f.wire != 2)
			continue;
		im->number++;
		r = take_sample(im, f.bytes);
		if (r == -ENOSPC) {
			im->stats->full++;
		} else if (r == -EINVAL) {
			text_complain(im->complaints, im->number, "sample cannot be read");
			im->stats->bad++;
		} else if (r) {
			return r;
		} else {
			im->stats->samples++;
		}
	}
	return 0;
}

static int name_types(struct importer *im)
{
	struct profile *p = im->p;
	int r = profile_string(p, "pprof", &p->meta.source);

	for (unsigned i = 0; i < p->ntypes && !r; i++) {
		r = text(im, im->types[i].type, &p->types[i].type);
		if (!r)
			r = text(im, im->types[i].unit, &p->types[i].unit);
	}
	return r ? r : text(im, im->period_type.type, &p->meta.event);
}

static int parse(struct importer *im, struct cursor c)
{
	struct cursor tables = c;
	struct field f;
	int r = 0;

	while (!r && next_field(&tables, &f))
		r = take_table(im, &f);
	if (r)
		return r;
	if (tables.bad)
		text_complain(im->complaints, 0, "the file is cut or damaged at byte %zu",
			cursor_offset(&tables));
	// "" first, by the format's rule: what has no samples types and no strings is no profile.
	if (!im->p->ntypes || !im->strings.len || im->strings.data[0].len)
		return -EINVAL;
	r = name_types(im);
	return r ? r : take_samples(im, c);
}

int import_pprof(const void *data, size_t len, struct profile *p,
	struct text_complaints *complaints, struct import_stats *ret)
{
	_cleanup_buf_ struct buf inflated = BUF_INIT(INFLATED_MAX);
	struct importer im = {.p = p, .complaints = complaints, .stats = ret};
	const unsigned char *magic = data;
	int r = 0;

	*ret = (struct import_stats){0};
	if (len >= 2 && magic[0] == 0x1f && magic[1] == 0x8b) {
		r = gzip_inflate(data, len, &inflated);
		if (r)
			return r;
		data = buf_str(&inflated);
		len = inflated.len;
	}
	pieces_init(&im.strings, UINT32_MAX);
	pieces_init(&im.mappings, UINT32_MAX);
	pieces_init(&im.locations, UINT32_MAX);
	pieces_init(&im.functions, UINT32_MAX);
	map_init(&im.mapping_by_id, UINT32_MAX);
	map_init(&im.location_by_id, UINT32_MAX);
	map_init(&im.function_by_id, UINT32_MAX);
	map_init(&im.frames_of, UINT32_MAX);
	frame_ids_init(&im.frames, UINT32_MAX);
	frame_ids_init(&im.stack, STACK_MAX);
	r = parse(&im, cursor_make(data, len));
	pieces_deinit(&im.strings);
	pieces_deinit(&im.mappings);
	pieces_deinit(&im.locations);
	pieces_deinit(&im.functions);
	map_deinit(&im.mapping_by_id);
	map_deinit(&im.location_by_id);
	map_deinit(&im.function_by_id);
	map_deinit(&im.frames_of);
	frame_ids_deinit(&im.frames);
	frame_ids_deinit(&im.stack);
	return r;
}
