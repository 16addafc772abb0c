/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/order.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cursor.h"
#include "base/vec.h"

#define ARENA_MIN (256u << 10)
/* Memory that is kept between drains; above it a peak is given back. */
#define ARENA_KEEP (256u << 10)
#define ITEMS_KEEP 4096

#define ALIGN8(n) (((n) + 7) & ~(size_t)7)

int order_init(struct order *o, size_t size)
{
	void *p;

	*o = (struct order){0};
	size = MIN(MAX(size, (size_t)ARENA_MIN), (size_t)UINT32_MAX) & ~(size_t)4095;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		-1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	o->arena = p;
	o->size = size;
	return 0;
}

void order_deinit(struct order *o)
{
	if (o->arena)
		munmap(o->arena, o->size);
	free(o->items);
	*o = (struct order){0};
}

void order_begin(struct order *o, capture_event_fn fn, void *arg)
{
	o->fn = fn;
	o->arg = arg;
}

/* A process must exist before it is renamed, have its mappings before it is sampled, and live until
 * its last sample. */
static uint8_t rank_of(enum capture_event_type type)
{
	switch (type) {
	case CAPTURE_FORK:
		return 0;
	case CAPTURE_COMM:
		return 1;
	case CAPTURE_MMAP:
		return 2;
	case CAPTURE_SAMPLE:
		return 4;
	case CAPTURE_EXIT:
		return 5;
	default:
		return 3;
	}
}

static int compare(const void *a, const void *b)
{
	const struct order_item *x = a, *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return (int32_t)(x->seq - y->seq) < 0 ? -1 : 1;
}

static int compare_off(const void *a, const void *b)
{
	const struct order_item *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

static void sort(struct order *o)
{
	size_t i = 1;

	// One busy ring and idle others: in order already.
	while (i < o->nitems && compare(&o->items[i - 1], &o->items[i]) < 0)
		i++;
	if (i < o->nitems)
		qsort(o->items, o->nitems, sizeof(*o->items), compare);
}

int order_parse_sample(const void *data, size_t len, struct capture_sample *ret)
{
	struct cursor c = cursor_make(data, len);
	const struct rec_sample *rec = cursor_bytes(&c, sizeof(*rec));

	if (!rec || rec->type != REC_SAMPLE || rec->len != len || rec->outcome >= REC_OUT_MAX ||
		rec->reason >= REC_WHY_MAX || rec->kernel_words > REC_KERNEL_WORDS_MAX ||
		rec->runtime_words > REC_RUNTIME_WORDS_MAX || rec->user_words > REC_USER_WORDS_MAX)
		return -EINVAL;
	*ret = (struct capture_sample){.rec = rec};
	ret->kernel = cursor_bytes(&c, 8u * rec->kernel_words);
	ret->runtime = cursor_bytes(&c, 8u * rec->runtime_words);
	ret->user = cursor_bytes(&c, 8u * rec->user_words);
	if (rec->flags & REC_F_HANDOFF) {
		ret->handoff = cursor_bytes(&c, sizeof(*ret->handoff));
		if (!ret->handoff)
			return -EINVAL;
		ret->stack = cursor_bytes(&c, ret->handoff->stack_len);
	}
	return c.bad ? -EINVAL : 0;
}

static void event_of_sample(const struct capture_sample *s, struct capture_event *ret)
{
	*ret = (struct capture_event){
		.type = CAPTURE_SAMPLE,
		.cpu = s->rec->cpu,
		.pid = s->rec->pid,
		.tid = s->rec->tid,
		.time = s->rec->time,
		.sample = *s,
	};
}

/* Where the one text of an event is; NULL if its type has none. */
static const char **text_of(struct capture_event *e)
{
	switch (e->type) {
	case CAPTURE_MMAP:
		return &e->mmap.path;
	case CAPTURE_COMM:
		return &e->comm.text;
	case CAPTURE_CGROUP:
		return &e->cgroup.path;
	case CAPTURE_KSYMBOL:
		return &e->ksymbol.name;
	default:
		return NULL;
	}
}

static int deliver_item(struct order *o, const struct order_item *item)
{
	struct capture_event e;

	if (item->type == CAPTURE_SAMPLE) {
		struct capture_sample s;

		if (order_parse_sample(o->arena + item->off, item->len, &s)) {
			o->stats.malformed++;
			return 0;
		}
		event_of_sample(&s, &e);
	} else {
		const char **text;

		memcpy(&e, o->arena + item->off, sizeof(e));
		text = text_of(&e);
		if (text)
			*text = (const char *)o->arena + item->off + sizeof(e);
	}
	if (item->time < o->delivered_until)
		o->stats.late++;
	else
		o->delivered_until = item->time;
	o->stats.delivered++;
	return o->fn(o->arg, &e);
}

/* Gives back what a burst took. */
static void trim(struct order *o)
{
	size_t keep = MAX((o->used + 4095) & ~(size_t)4095, (size_t)ARENA_KEEP);

	if (o->peak > keep) {
		madvise(o->arena + keep, o->size - keep, MADV_DONTNEED);
		o->peak = o->used;
	}
	if (o->items_size > ITEMS_KEEP && o->nitems <= ITEMS_KEEP) {
		struct order_item *p = realloc(o->items, ITEMS_KEEP * sizeof(*p));

		if (p) {
			o->items = p;
			o->items_size = ITEMS_KEEP;
		}
	}
}

/* Forgets the first n items and moves the bytes of the others together. */
static void drop_first(struct order *o, size_t n)
{
	size_t used = 0;

	o->nitems -= n;
	memmove(o->items, o->items + n, o->nitems * sizeof(*o->items));
	qsort(o->items, o->nitems, sizeof(*o->items), compare_off);
	for (size_t i = 0; i < o->nitems; i++) {
		struct order_item *item = &o->items[i];

		memmove(o->arena + used, o->arena + item->off, item->len);
		item->off = (uint32_t)used;
		used += ALIGN8(item->len);
	}
	o->used = used;
	trim(o);
}

/* Delivers the first n of the sorted items. */
static int deliver_first(struct order *o, size_t n)
{
	size_t i = 0;
	int r = 0;

	while (i < n && !r)
		r = deliver_item(o, &o->items[i++]);
	if (i)
		drop_first(o, i);
	return r;
}

int order_finish(struct order *o, uint64_t until)
{
	size_t n = 0;

	sort(o);
	while (n < o->nitems && o->items[n].time <= until)
		n++;
	return deliver_first(o, n);
}

/* Room for one more item of len bytes; the older half goes early if there is none. */
static int make_room(struct order *o, size_t len)
{
	if (len > o->size)
		return -E2BIG;
	while (o->size - o->used < len) {
		size_t n = (o->nitems + 1) / 2;
		int r;

		sort(o);
		o->stats.early += n;
		r = deliver_first(o, n);
		if (r)
			return r;
	}
	return vec_grow((void **)&o->items, &o->items_size, o->nitems + 1, SIZE_MAX / 64,
		sizeof(*o->items));
}

static uint8_t *add_item(struct order *o, enum capture_event_type type, uint64_t time, size_t len)
{
	uint8_t *at = o->arena + o->used;

	o->items[o->nitems++] = (struct order_item){
		.time = time,
		.seq = o->seq++,
		.off = (uint32_t)o->used,
		.len = (uint32_t)len,
		.rank = rank_of(type),
		.type = (uint8_t)type,
	};
	o->used += ALIGN8(len);
	o->peak = MAX(o->peak, o->used);
	return at;
}

size_t order_sample_size(const struct capture_sample *s)
{
	size_t len = sizeof(*s->rec) + 8u * s->rec->kernel_words + 8u * s->rec->runtime_words +
		     8u * s->rec->user_words;

	if (s->rec->flags & REC_F_HANDOFF)
		len += sizeof(*s->handoff) + s->handoff->stack_len;
	return len;
}

/* memcpy from a part that may be absent. */
static uint8_t *append(uint8_t *at, const void *data, size_t n)
{
	if (n)
		memcpy(at, data, n);
	return at + n;
}

void order_write_sample(const struct capture_sample *s, void *dst)
{
	struct rec_sample *rec = dst;
	uint8_t *at = (uint8_t *)dst + sizeof(*rec);

	*rec = *s->rec;
	rec->type = REC_SAMPLE;
	rec->len = (uint32_t)order_sample_size(s);
	at = append(at, s->kernel, 8u * rec->kernel_words);
	at = append(at, s->runtime, 8u * rec->runtime_words);
	at = append(at, s->user, 8u * rec->user_words);
	if (!(rec->flags & REC_F_HANDOFF))
		return;
	at = append(at, s->handoff, sizeof(*s->handoff));
	append(at, s->stack, s->handoff->stack_len);
}

static int push_sample(struct order *o, const struct capture_sample *s)
{
	size_t len = order_sample_size(s);
	int r = make_room(o, ALIGN8(len));

	if (!r)
		order_write_sample(s, add_item(o, CAPTURE_SAMPLE, s->rec->time, len));
	return r;
}

int order_push(struct order *o, const struct capture_event *event)
{
	struct capture_event copy = *event;
	const char **text = text_of(&copy);
	size_t n = text && *text ? strlen(*text) + 1 : 1;
	uint8_t *at;
	int r;

	if (event->type == CAPTURE_SAMPLE)
		return push_sample(o, &event->sample);
	r = make_room(o, ALIGN8(sizeof(copy) + n));
	if (r)
		return r;
	at = add_item(o, event->type, event->time, sizeof(copy) + n);
	memcpy(at, &copy, sizeof(copy));
	memcpy(at + sizeof(copy), text && *text ? *text : "", n);
	return 0;
}

int order_push_record(struct order *o, const void *data, size_t len)
{
	struct rec_sample head;
	int r;

	// The ring buffer rounds nothing up, but len may include padding: the record's own length
	// counts.
	if (len < sizeof(head)) {
		o->stats.malformed++;
		return 0;
	}
	memcpy(&head, data, sizeof(head));
	if (head.type != REC_SAMPLE || head.len < sizeof(head) || head.len > len) {
		o->stats.malformed++;
		return 0;
	}
	r = make_room(o, ALIGN8((size_t)head.len));
	if (r)
		return r;
	memcpy(add_item(o, CAPTURE_SAMPLE, head.time, head.len), data, head.len);
	return 0;
}
