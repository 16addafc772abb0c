/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/record_file.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/cursor.h"
#include "capture/cpu_list.h"
#include "capture/order.h"

#define HEADER_BYTES 32
#define EVENT_BYTES (16 + RECORD_NAME_LEN)
#define COMMON_BYTES 24 // of a payload, before what depends on the type

static void put_u32(struct buf *b, uint32_t v)
{
	buf_append(b, &v, sizeof(v));
}

static void put_u64(struct buf *b, uint64_t v)
{
	buf_append(b, &v, sizeof(v));
}

static void put_text(struct buf *b, const char *s)
{
	s = s ? s : "";
	buf_append(b, s, strlen(s) + 1);
}

static int write_bytes(struct record_writer *w, const void *data, size_t len)
{
	if (!w->error && len && fwrite(data, len, 1, w->file.f) != 1)
		w->error = errno ? -errno : -EIO;
	return w->error;
}

/* Writes the payload with its length and type before it. */
static int write_payload(struct record_writer *w, uint32_t type)
{
	uint32_t head[2] = {(uint32_t)w->payload.len, type};

	if (w->payload.bad && !w->error)
		w->error = -ENOMEM;
	if (!w->error)
		write_bytes(w, head, sizeof(head));
	return write_bytes(w, w->payload.data, w->payload.len);
}

/* All processes have the same one; ours lies in our memory, whole, up to its section headers. Empty if
 * there is none. */
static int write_vdso(struct record_writer *w)
{
	const Elf64_Ehdr *e = (const void *)(uintptr_t)getauxval(AT_SYSINFO_EHDR);
	uint64_t len = e ? e->e_shoff + (uint64_t)e->e_shnum * e->e_shentsize : 0;

	buf_clear(&w->payload);
	if (len >= sizeof(*e) && len <= RECORD_VDSO_MAX)
		buf_append(&w->payload, e, len);
	return write_payload(w, RECORD_VDSO);
}

int record_writer_open(
	struct record_writer *w, const char *path, const struct capture_source *source)
{
	const uint16_t sizes[2] = {sizeof(struct rec_sample), sizeof(struct rec_handoff)};
	struct buf *b = &w->payload;
	int r;

	*w = (struct record_writer){.payload = BUF_INIT(RECORD_PAYLOAD_MAX)};
	r = fs_atomic_open(&w->file, path, 0600);
	if (r)
		return r;
	buf_append(b, RECORD_MAGIC, 8);
	put_u32(b, RECORD_VERSION);
	put_u32(b, source->frequency);
	put_u32(b, source->ncpus);
	put_u32(b, source->nevents);
	buf_append(b, sizes, sizeof(sizes));
	put_u32(b, 0);
	for (unsigned i = 0; i < source->nevents; i++) {
		char name[RECORD_NAME_LEN] = {0};

		put_u32(b, source->events[i].perf_type);
		put_u32(b, 0);
		put_u64(b, source->events[i].perf_config);
		memcpy(name, source->events[i].name,
			strnlen(source->events[i].name, sizeof(name) - 1));
		buf_append(b, name, sizeof(name));
	}
	r = b->bad ? -ENOMEM : write_bytes(w, b->data, b->len);
	if (!r)
		r = write_vdso(w);
	if (r)
		record_writer_close(w);
	return r;
}

static void put_mmap(struct buf *b, const struct capture_mmap *m)
{
	put_u64(b, m->start);
	put_u64(b, m->len);
	put_u64(b, m->pgoff);
	put_u32(b, m->maj);
	put_u32(b, m->min);
	put_u64(b, m->ino);
	put_u64(b, m->ino_generation);
	put_u32(b, m->prot);
	put_u32(b, m->flags);
	put_u32(b, m->build_id_len);
	buf_append(b, m->build_id, sizeof(m->build_id));
	put_text(b, m->path);
}

static void put_sample(struct buf *b, const struct capture_sample *s)
{
	size_t len = order_sample_size(s);

	if (buf_reserve(b, len)) {
		b->bad = true;
		return;
	}
	order_write_sample(s, b->data + b->len);
	b->len += len;
}

static void put_named(struct buf *b, const struct capture_named *n)
{
	put_u32(b, n->nwords);
	put_u32(b, n->line);
	put_u32(b, n->start_line);
	put_u32(b, n->stale);
	buf_append(b, n->words, n->nwords * sizeof(*n->words));
	put_text(b, n->comm);
	put_text(b, n->name);
	put_text(b, n->file);
	put_text(b, n->package);
}

static void put_event(struct buf *b, const struct capture_event *e)
{
	switch (e->type) {
	case CAPTURE_SAMPLE:
		put_sample(b, &e->sample);
		break;
	case CAPTURE_MMAP:
		put_mmap(b, &e->mmap);
		break;
	case CAPTURE_COMM:
		put_u32(b, e->comm.exec);
		put_text(b, e->comm.text);
		break;
	case CAPTURE_FORK:
	case CAPTURE_EXIT:
		put_u32(b, e->fork.ppid);
		put_u32(b, e->fork.ptid);
		break;
	case CAPTURE_CGROUP:
		put_u64(b, e->cgroup.id);
		put_text(b, e->cgroup.path);
		break;
	case CAPTURE_KSYMBOL:
		put_u64(b, e->ksymbol.addr);
		put_u32(b, e->ksymbol.len);
		put_u32(b, e->ksymbol.gone);
		put_text(b, e->ksymbol.name);
		break;
	case CAPTURE_LOST:
		put_u64(b, e->lost.count);
		put_u32(b, e->lost.samples);
		break;
	case CAPTURE_THROTTLE:
		put_u32(b, e->throttle.on);
		break;
	case CAPTURE_NAMED:
		put_named(b, &e->named);
		break;
	}
}

int record_writer_add(struct record_writer *w, const struct capture_event *e)
{
	struct buf *b = &w->payload;

	if (w->error)
		return w->error;
	buf_clear(b);
	put_u32(b, e->cpu);
	put_u32(b, e->pid);
	put_u32(b, e->tid);
	put_u32(b, 0);
	put_u64(b, e->time);
	put_event(b, e);
	return write_payload(w, e->type);
}

int record_writer_commit(struct record_writer *w, const struct capture_stats *stats)
{
	buf_clear(&w->payload);
	if (stats) {
		buf_append(&w->payload, stats, sizeof(*stats));
		write_payload(w, RECORD_STATS);
	}
	if (!w->error)
		w->error = fs_atomic_commit(&w->file);
	return w->error;
}

void record_writer_close(struct record_writer *w)
{
	fs_atomic_abort(&w->file);
	buf_deinit(&w->payload);
}

/* Reads exactly len bytes. Return 1, 0 at the very end, -EBADMSG if cut, -errno. */
static int read_bytes(struct record_reader *r, void *dst, size_t len)
{
	size_t n = fread(dst, 1, len, r->f);

	if (n == len)
		return 1;
	if (ferror(r->f))
		return -EIO;
	return n ? -EBADMSG : 0;
}

static int read_header(struct record_reader *r)
{
	uint8_t bytes[HEADER_BYTES];
	struct cursor c = cursor_make(bytes, sizeof(bytes));
	const char *magic;

	if (read_bytes(r, bytes, sizeof(bytes)) != 1)
		return -EBADMSG;
	magic = cursor_bytes(&c, 8);
	if (memcmp(magic, RECORD_MAGIC, 8) || cursor_u32(&c) != RECORD_VERSION)
		return -EBADMSG;
	r->frequency = cursor_u32(&c);
	r->ncpus = cursor_u32(&c);
	r->nevents = cursor_u32(&c);
	if (r->nevents > CAPTURE_EVENTS_MAX || r->ncpus > CPU_LIST_MAX ||
		cursor_u16(&c) != sizeof(struct rec_sample) ||
		cursor_u16(&c) != sizeof(struct rec_handoff))
		return -EBADMSG;
	return 0;
}

static int read_events(struct record_reader *r)
{
	for (uint32_t i = 0; i < r->nevents; i++) {
		uint8_t bytes[EVENT_BYTES];
		struct cursor c = cursor_make(bytes, sizeof(bytes));
		struct capture_perf_event *e = &r->events[i];

		if (read_bytes(r, bytes, sizeof(bytes)) != 1)
			return -EBADMSG;
		e->perf_type = cursor_u32(&c);
		cursor_u32(&c);
		e->perf_config = cursor_u64(&c);
		cursor_copy(&c, r->names[i], RECORD_NAME_LEN);
		if (!memchr(r->names[i], '\0', RECORD_NAME_LEN))
			return -EBADMSG;
		e->name = r->names[i];
	}
	return 0;
}

static int read_vdso(struct record_reader *r)
{
	uint32_t head[2];

	if (read_bytes(r, head, sizeof(head)) != 1 || head[1] != RECORD_VDSO ||
		head[0] > RECORD_VDSO_MAX)
		return -EBADMSG;
	if (!head[0])
		return 0;
	r->vdso = malloc(head[0]);
	if (!r->vdso)
		return -ENOMEM;
	r->vdso_len = head[0];
	return read_bytes(r, r->vdso, head[0]) == 1 ? 0 : -EBADMSG;
}

int record_reader_init(struct record_reader *r, FILE *f)
{
	int err;

	*r = (struct record_reader){.f = f};
	r->payload = malloc(RECORD_PAYLOAD_MAX);
	err = r->payload ? read_header(r) : -ENOMEM;
	if (!err)
		err = read_events(r);
	if (!err)
		err = read_vdso(r);
	if (err)
		record_reader_deinit(r);
	return err;
}

void record_reader_deinit(struct record_reader *r)
{
	if (r->f)
		fclose(r->f);
	free(r->payload);
	free(r->vdso);
	*r = (struct record_reader){0};
}

static void get_mmap(struct cursor *c, struct capture_mmap *m)
{
	uint32_t len;

	m->start = cursor_u64(c);
	m->len = cursor_u64(c);
	m->pgoff = cursor_u64(c);
	m->maj = cursor_u32(c);
	m->min = cursor_u32(c);
	m->ino = cursor_u64(c);
	m->ino_generation = cursor_u64(c);
	m->prot = cursor_u32(c);
	m->flags = cursor_u32(c);
	len = cursor_u32(c);
	if (len > CAPTURE_BUILD_ID_MAX)
		c->bad = true;
	m->build_id_len = (uint8_t)len;
	cursor_copy(c, m->build_id, sizeof(m->build_id));
	m->path = cursor_cstr(c);
}

/* What the sample says of itself must be what its record says. */
static void get_sample(const struct record_reader *r, struct cursor *c, struct capture_event *e)
{
	size_t len = cursor_left(c);
	const void *data = cursor_bytes(c, len);
	const struct rec_sample *rec;

	if (!data || order_parse_sample(data, len, &e->sample)) {
		c->bad = true;
		return;
	}
	rec = e->sample.rec;
	if (rec->cpu != e->cpu || rec->pid != e->pid || rec->tid != e->tid ||
		rec->time != e->time || rec->event >= MAX(r->nevents, 1u) ||
		rec->comm[REC_COMM_LEN - 1])
		c->bad = true;
}

static void get_named(struct record_reader *r, struct cursor *c, struct capture_named *n)
{
	n->nwords = cursor_u32(c);
	n->line = cursor_u32(c);
	n->start_line = cursor_u32(c);
	n->stale = cursor_u32(c);
	if (!n->nwords || n->nwords > CAPTURE_NAMED_WORDS) {
		c->bad = true;
		return;
	}
	cursor_copy(c, r->words, n->nwords * sizeof(*n->words));
	n->words = r->words;
	n->comm = cursor_cstr(c);
	n->name = cursor_cstr(c);
	n->file = cursor_cstr(c);
	n->package = cursor_cstr(c);
}

static void get_event(struct record_reader *r, struct cursor *c, struct capture_event *e)
{
	switch (e->type) {
	case CAPTURE_SAMPLE:
		get_sample(r, c, e);
		break;
	case CAPTURE_MMAP:
		get_mmap(c, &e->mmap);
		break;
	case CAPTURE_COMM:
		e->comm.exec = cursor_u32(c);
		e->comm.text = cursor_cstr(c);
		break;
	case CAPTURE_FORK:
	case CAPTURE_EXIT:
		e->fork.ppid = cursor_u32(c);
		e->fork.ptid = cursor_u32(c);
		break;
	case CAPTURE_CGROUP:
		e->cgroup.id = cursor_u64(c);
		e->cgroup.path = cursor_cstr(c);
		break;
	case CAPTURE_KSYMBOL:
		e->ksymbol.addr = cursor_u64(c);
		e->ksymbol.len = cursor_u32(c);
		e->ksymbol.gone = cursor_u32(c);
		e->ksymbol.name = cursor_cstr(c);
		break;
	case CAPTURE_LOST:
		e->lost.count = cursor_u64(c);
		e->lost.samples = cursor_u32(c);
		break;
	case CAPTURE_THROTTLE:
		e->throttle.on = cursor_u32(c);
		break;
	case CAPTURE_NAMED:
		get_named(r, c, &e->named);
		break;
	}
}

static int decode(struct record_reader *r, uint32_t type, size_t len, struct capture_event *e)
{
	struct cursor c = cursor_make(r->payload, len);

	if (type > CAPTURE_NAMED)
		return -EBADMSG;
	*e = (struct capture_event){.type = type};
	e->cpu = cursor_u32(&c);
	e->pid = cursor_u32(&c);
	e->tid = cursor_u32(&c);
	cursor_u32(&c);
	e->time = cursor_u64(&c);
	if (e->cpu >= CPU_LIST_MAX)
		return -EBADMSG;
	get_event(r, &c, e);
	return c.bad || cursor_left(&c) ? -EBADMSG : 0;
}

/* The last record: nothing follows it, and its outcomes sum up. */
static int take_stats(struct record_reader *r, size_t len)
{
	struct capture_stats st;
	uint64_t sum = 0;

	if (len != sizeof(st) || getc(r->f) != EOF)
		return -EBADMSG;
	memcpy(&st, r->payload, sizeof(st));
	for (unsigned i = 0; i < REC_OUT_MAX; i++)
		sum += st.kernel.outcomes[i];
	if (sum != st.kernel.entries)
		return -EBADMSG;
	r->stats = st;
	r->has_stats = true;
	return 0;
}

int record_reader_next(struct record_reader *r, struct capture_event *ret)
{
	struct capture_event e;
	uint32_t head[2];
	int err = read_bytes(r, head, sizeof(head));

	if (err <= 0)
		return err;
	if (head[0] > RECORD_PAYLOAD_MAX || head[0] < COMMON_BYTES)
		return -EBADMSG;
	err = read_bytes(r, r->payload, head[0]);
	if (err <= 0)
		return err ? err : -EBADMSG;
	if (head[1] == RECORD_STATS)
		return take_stats(r, head[0]);
	err = decode(r, head[1], head[0], &e);
	if (err)
		return err;
	*ret = e;
	return 1;
}
