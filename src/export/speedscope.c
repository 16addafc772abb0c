/* SPDX-License-Identifier: Apache-2.0 */
/* speedscope's JSON (runtime-and-memory-anchors.md C4), written as a stream.
 *
 * The viewer shows one profile at a time and offers the others in a list. So the first is the whole
 * machine, with the process as the root frame, and behind it stands one for each process, busiest
 * first, its threads together (samples of threads are counted, not timed, so there is no order in
 * time to keep). A profile of one process has only that. The viewer tells frames by their index:
 * what looks the same must be one. */
#include "export/export.h"

#include <errno.h>
#include <string.h>

#define TEXT_MAX_BYTES ((size_t)16 << 20)

/* Interned as bytes. */
struct process_key {
	uint32_t comm, pid, uid;
};

struct process {
	uint32_t id; // in the table of keys
	uint32_t frame; // its root frame in the whole-machine profile
	uint32_t count; // samples
	uint32_t first; // in order
	int64_t weight;
};

VEC_DEFINE(indices, uint32_t)

struct speedscope {
	const struct profile *p;
	FILE *f;
	struct intern frames; // JSON of each distinct frame
	uint32_t *frame_index; // in frames, by profile frame
	struct intern keys;
	struct process *processes; // processes[key id - 1], then sorted
	uint32_t *rank; // key id - 1 -> place in processes
	uint32_t *process_of; // by context: key id
	uint32_t *order; // sample numbers by process
	unsigned value; // which of the values
	struct buf text;
	struct indices stack;
};

static int json_member(struct buf *b, const char *before, const char *s, size_t len)
{
	buf_append_str(b, before);
	return json_append_string(b, s, len);
}

static int add_frame(struct speedscope *s, uint32_t *ret)
{
	uint32_t id;
	int r = s->text.bad ? -ENOSPC : intern_add(&s->frames, s->text.data, s->text.len, &id);

	if (!r)
		*ret = id - 1;
	return r;
}

static int make_frames(struct speedscope *s)
{
	const struct profile *p = s->p;
	_cleanup_buf_ struct buf name = BUF_INIT(TEXT_MAX_BYTES);
	int r = 0;

	for (uint32_t id = 1; id <= p->frames.len && !r; id++) {
		const struct profile_frame *f = profile_frame_get(p, id);
		const char *file = profile_text(p, f->file ? f->file : f->module);

		buf_clear(&name);
		buf_clear(&s->text);
		r = export_frame_text(&name, p, id, NULL);
		json_member(&s->text, "{\"name\": ", buf_str(&name), name.len);
		if (file[0])
			json_member(&s->text, ", \"file\": ", file, strlen(file));
		if (f->file && f->start_line)
			buf_printf(&s->text, ", \"line\": %u", f->start_line);
		buf_append_char(&s->text, '}');
		if (!r)
			r = add_frame(s, &s->frame_index[id]);
	}
	return r;
}

static void process_name(const struct speedscope *s, uint32_t id, struct buf *b)
{
	const struct process_key *key = intern_get(&s->keys, id, NULL);
	const char *comm = profile_text(s->p, key->comm);

	buf_clear(b);
	buf_append_str(b, comm[0] ? comm : "(unknown process)");
	if (key->pid)
		buf_printf(b, " [%u]", key->pid);
}

static int make_processes(struct speedscope *s)
{
	const struct profile *p = s->p;
	_cleanup_buf_ struct buf name = BUF_INIT(TEXT_MAX_BYTES);
	int r = 0;

	for (uint32_t id = 0; id <= p->contexts.len && !r; id++) {
		const struct profile_context *c = profile_context_get(p, id);
		struct process_key key = {.comm = c->comm, .pid = c->pid, .uid = c->uid};

		r = intern_add(&s->keys, &key, sizeof(key), &s->process_of[id]);
	}
	if (r)
		return r;
	s->processes = calloc(s->keys.len + 1ull, sizeof(*s->processes));
	s->rank = calloc(s->keys.len + 1ull, sizeof(*s->rank));
	if (!s->processes || !s->rank)
		return -ENOMEM;
	for (uint32_t id = 1; id <= s->keys.len && !r; id++) {
		s->processes[id - 1].id = id;
		process_name(s, id, &name);
		buf_clear(&s->text);
		json_member(&s->text, "{\"name\": ", buf_str(&name), name.len);
		buf_append_char(&s->text, '}');
		r = name.bad ? -ENOMEM : add_frame(s, &s->processes[id - 1].frame);
	}
	return r;
}

/* The viewer has no negative weights, and empty ones only cost. */
static int64_t weight_of(const struct speedscope *s, const struct profile_sample *sample)
{
	return MAX(sample->values[s->value], 0);
}

static int busiest_first(const void *a, const void *b)
{
	const struct process *pa = a, *pb = b;

	if (pa->weight != pb->weight)
		return pa->weight > pb->weight ? -1 : 1;
	return pa->id < pb->id ? -1 : pa->id > pb->id;
}

static void add_weight(int64_t *sum, int64_t w)
{
	if (__builtin_add_overflow(*sum, w, sum))
		*sum = INT64_MAX;
}

/* Samples ordered by process, processes by weight: a counting sort. */
static void order_samples(struct speedscope *s)
{
	const struct profile_sample_vec *samples = &s->p->samples;
	uint32_t at = 0;

	vec_foreach (sample, samples) {
		struct process *pr = &s->processes[s->process_of[sample->context] - 1];

		if (weight_of(s, sample)) {
			pr->count++;
			add_weight(&pr->weight, weight_of(s, sample));
		}
	}
	qsort(s->processes, s->keys.len, sizeof(*s->processes), busiest_first);
	for (uint32_t i = 0; i < s->keys.len; i++) {
		s->rank[s->processes[i].id - 1] = i;
		s->processes[i].first = at;
		at += s->processes[i].count;
		s->processes[i].count = 0;
	}
	vec_foreach (sample, samples) {
		uint32_t key = s->process_of[sample->context];
		struct process *pr = &s->processes[s->rank[key - 1]];

		if (weight_of(s, sample))
			s->order[pr->first + pr->count++] = (uint32_t)(sample - samples->data);
	}
}

static int write_stack(struct speedscope *s, const struct profile_sample *sample, bool with_process)
{
	const struct process *pr = &s->processes[s->rank[s->process_of[sample->context] - 1]];
	bool first = true;

	s->stack.len = 0;
	for (uint32_t n = sample->node; n; n = profile_node_get(s->p, n)->parent) {
		int r = indices_push(&s->stack, s->frame_index[profile_node_get(s->p, n)->frame]);

		if (r)
			return r;
	}
	fputc('[', s->f);
	if (with_process) {
		fprintf(s->f, "%u", pr->frame);
		first = false;
	}
	for (size_t i = s->stack.len; i > 0; i--) {
		fprintf(s->f, first ? "%u" : ",%u", s->stack.data[i - 1]);
		first = false;
	}
	fputc(']', s->f);
	return 0;
}

/* One element of "profiles": samples order[first .. first + count). */
struct part {
	const char *name;
	uint32_t first, count;
	int64_t weight;
	bool with_process;
};

static int write_part(struct speedscope *s, const struct part *part)
{
	const char *unit = profile_text(s->p, s->p->types[s->value].unit);
	const struct profile_sample *samples = s->p->samples.data;

	if (strcmp(unit, "nanoseconds") != 0 && strcmp(unit, "bytes") != 0)
		unit = "none";
	buf_clear(&s->text);
	json_member(&s->text, "{\"type\": \"sampled\", \"name\": ", part->name, strlen(part->name));
	buf_printf(&s->text,
		", \"unit\": \"%s\", \"startValue\": 0, \"endValue\": %lld,\n\"samples\": [", unit,
		(long long)part->weight);
	if (s->text.bad)
		return -ENOSPC;
	fwrite(s->text.data, 1, s->text.len, s->f);
	for (uint32_t i = 0; i < part->count; i++) {
		int r;

		if (i)
			fputs(",\n", s->f);
		r = write_stack(s, &samples[s->order[part->first + i]], part->with_process);
		if (r)
			return r;
	}
	fputs("],\n\"weights\": [", s->f);
	for (uint32_t i = 0; i < part->count; i++)
		fprintf(s->f, i ? ",%lld" : "%lld",
			(long long)weight_of(s, &samples[s->order[part->first + i]]));
	fputs("]}", s->f);
	return 0;
}

static int write_profiles(struct speedscope *s)
{
	_cleanup_buf_ struct buf name = BUF_INIT(TEXT_MAX_BYTES);
	struct part all = {.name = "all processes", .with_process = true};
	uint32_t busy = 0;
	int r = 0;

	for (uint32_t i = 0; i < s->keys.len; i++) {
		busy += s->processes[i].count > 0;
		all.count += s->processes[i].count;
		add_weight(&all.weight, s->processes[i].weight);
	}
	if (busy != 1)
		r = write_part(s, &all);
	for (uint32_t i = 0; i < busy && !r; i++) {
		const struct process *pr = &s->processes[i];
		struct part part = {.first = pr->first, .count = pr->count, .weight = pr->weight};

		process_name(s, pr->id, &name);
		if (name.bad)
			return -ENOMEM;
		part.name = buf_str(&name);
		if (i || busy != 1)
			fputs(",\n", s->f);
		r = write_part(s, &part);
	}
	return r;
}

static int write_file(struct speedscope *s)
{
	const char *host = profile_text(s->p, s->p->meta.hostname);
	const char *event = profile_text(s->p, s->p->meta.event);
	char title[512];

	snprintf(title, sizeof(title), "%s%s%s", host[0] ? host : "profile", event[0] ? " " : "",
		event);
	buf_clear(&s->text);
	buf_append_str(&s->text,
		"{\"$schema\": \"https://www.speedscope.app/file-format-schema.json\",\n");
	json_member(&s->text, "\"name\": ", title, strlen(title));
	buf_append_str(&s->text, ", \"exporter\": \"gprofiler " GP_VERSION
				 "\", \"activeProfileIndex\": 0,\n\"shared\": {\"frames\": [");
	if (s->text.bad)
		return -ENOSPC;
	fwrite(buf_str(&s->text), 1, s->text.len, s->f);
	for (uint32_t id = 1; id <= s->frames.len; id++) {
		size_t len;
		const char *json = intern_get(&s->frames, id, &len);

		if (id > 1)
			fputs(",\n", s->f);
		fwrite(json, 1, len, s->f);
	}
	fputs("]},\n\"profiles\": [", s->f);
	return 0;
}

static int run(struct speedscope *s)
{
	const struct profile *p = s->p;
	int r;

	s->frame_index = calloc(p->frames.len + 1ull, sizeof(uint32_t));
	s->process_of = calloc(p->contexts.len + 1ull, sizeof(uint32_t));
	s->order = calloc(p->samples.len + 1, sizeof(uint32_t));
	if (!s->frame_index || !s->process_of || !s->order)
		return -ENOMEM;
	// Time is what people look for; the second value is it for clock events.
	if (p->ntypes > 1 && strcmp(profile_text(p, p->types[1].unit), "nanoseconds") == 0)
		s->value = 1;
	r = make_frames(s);
	if (!r)
		r = make_processes(s);
	if (r)
		return r;
	order_samples(s);
	r = write_file(s);
	if (!r)
		r = write_profiles(s);
	fputs("]}\n", s->f);
	if (!r && (fflush(s->f) || ferror(s->f)))
		r = errno ? -errno : -EIO;
	return r;
}

int export_speedscope(FILE *f, const struct profile *p)
{
	struct speedscope s = {.p = p, .f = f, .text = BUF_INIT(TEXT_MAX_BYTES)};
	int r;

	intern_init(&s.frames, UINT32_MAX - 1, UINT32_MAX);
	intern_init(&s.keys, UINT32_MAX - 1, UINT32_MAX);
	indices_init(&s.stack, UINT32_MAX);
	errno = 0;
	r = run(&s);
	intern_deinit(&s.frames);
	intern_deinit(&s.keys);
	indices_deinit(&s.stack);
	buf_deinit(&s.text);
	free(s.frame_index);
	free(s.process_of);
	free(s.order);
	free(s.processes);
	free(s.rank);
	return r;
}
