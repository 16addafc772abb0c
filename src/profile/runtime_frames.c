/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/runtime_frames.h"

#include <errno.h>
#include <string.h>

#define FRAME_WORDS_MAX CAPTURE_NAMED_WORDS

/* Interned as bytes. */
struct frame_key {
	uint64_t words[FRAME_WORDS_MAX];
	uint64_t uid;
};

void runtime_frames_init(struct runtime_frames *f, struct runtime_set *set, uint32_t max_frames)
{
	*f = (struct runtime_frames){.set = set};
	intern_init(&f->keys, max_frames, (size_t)max_frames * 2 * sizeof(struct frame_key));
	intern_init(&f->names, max_frames, (size_t)max_frames * 2 * sizeof(struct runtime_frame));
	runtime_id_vec_init(&f->ids, max_frames);
}

void runtime_frames_deinit(struct runtime_frames *f)
{
	intern_deinit(&f->keys);
	intern_deinit(&f->names);
	runtime_id_vec_deinit(&f->ids);
}

void runtime_frames_clear(struct runtime_frames *f)
{
	intern_clear(&f->keys);
	intern_clear(&f->names);
	runtime_id_vec_clear(&f->ids);
}

/* A process that was forked has its objects where its siblings have them. What one of them is called
 * stands in for a process that ended before it could be asked. */
static uint32_t of_family(const struct runtime_frames *f, const struct frame_key *key)
{
	uint32_t id = key->uid ? intern_find(&f->keys, key, sizeof(*key)) : 0;

	return id && id <= f->ids.len ? f->ids.data[id - 1] : 0;
}

static void tell_family(struct runtime_frames *f, const struct frame_key *key, uint32_t named)
{
	uint32_t id;

	if (key->uid && !runtime_id_vec_reserve(&f->ids, 1) &&
		!intern_add(&f->keys, key, sizeof(*key), &id) && id > f->ids.len)
		runtime_id_vec_push(&f->ids, named);
}

static int add_name(struct runtime_frames *f, const struct runtime_frame *frame, uint32_t *ret_id)
{
	struct runtime_frame plain;

	// Its padding counts, too.
	memset(&plain, 0, sizeof(plain));
	plain.name = frame->name;
	plain.file = frame->file;
	plain.line = frame->line;
	plain.start_line = frame->start_line;
	plain.package = frame->package;
	plain.stale = frame->stale;
	return intern_add(&f->names, &plain, sizeof(plain), ret_id);
}

static int name_frame(
	struct runtime_frames *f, struct process *p, struct frame_key key, uint32_t *ret_id)
{
	const uint64_t *words = key.words;
	struct runtime_frame frame;
	int r;

	f->asked++;
	key.uid = p->image;
	memset(&frame, 0, sizeof(frame));
	r = runtime_name_frame(f->set, p, words, &frame);
	if (r == -ENOMEM)
		return r;
	*ret_id = frame.stale ? of_family(f, &key) : 0;
	if (*ret_id)
		return 0;
	f->stale += frame.stale;
	r = add_name(f, &frame, ret_id);
	if (!r && !frame.stale)
		tell_family(f, &key, *ret_id);
	return r;
}

/* What is remembered of a frame. Return false: there is no such kind. */
static bool make_key(
	const struct process *p, const uint64_t *words, unsigned nwords, struct frame_key *ret)
{
	*ret = (struct frame_key){.uid = p->uid};
	if (!nwords || nwords > FRAME_WORDS_MAX)
		return false;
	// Where in its run the frame stands makes it no other one.
	ret->words[0] = words[0] & ~REC_FRAME_RUN_END;
	memcpy(ret->words + 1, words + 1, (nwords - 1) * sizeof(*words));
	return true;
}

/* The place of a frame's name, and whether it is a new one. Return 0, -ENOMEM, -ENOSPC. */
static int find_place(
	struct runtime_frames *f, const struct frame_key *key, uint32_t **ret, bool *ret_new)
{
	uint32_t id;
	// Room for its name first: every key has its place.
	int r = runtime_id_vec_reserve(&f->ids, 1);

	if (!r)
		r = intern_add(&f->keys, key, sizeof(*key), &id);
	f->full += r == -ENOSPC;
	if (r)
		return r;
	*ret_new = id > f->ids.len;
	if (*ret_new)
		runtime_id_vec_push(&f->ids, 0);
	*ret = &f->ids.data[id - 1];
	return 0;
}

int runtime_frames_id(
	struct runtime_frames *f, struct process *p, const uint64_t *words, uint32_t *ret_id)
{
	unsigned nwords = runtime_frame_words((uint8_t)REC_FRAME_KIND(words[0]));
	uint32_t *place, named = 0;
	struct frame_key key;
	size_t index;
	bool new;
	int r;

	*ret_id = 0;
	if (!make_key(p, words, nwords, &key))
		return 0;
	r = find_place(f, &key, &place, &new);
	if (r || !new) {
		*ret_id = r ? 0 : *place;
		return r == -ENOSPC ? 0 : r;
	}
	index = (size_t)(place - f->ids.data);
	r = name_frame(f, p, key, &named);
	f->full += r == -ENOSPC;
	*ret_id = f->ids.data[index] = named;
	if (named && f->named)
		f->named(f->named_arg, p, key.words, nwords, runtime_frames_get(f, named));
	return r == -ENOSPC ? 0 : r;
}

int runtime_frames_tell(
	struct runtime_frames *f, const struct process *p, const struct capture_named *named)
{
	struct runtime_frame frame = {
		.line = named->line, .start_line = named->start_line, .stale = named->stale};
	uint32_t *place, id;
	struct frame_key key;
	size_t index;
	bool new;
	int r;

	if (named->nwords != runtime_frame_words((uint8_t)REC_FRAME_KIND(named->words[0])) ||
		!make_key(p, named->words, named->nwords, &key))
		return -EINVAL;
	r = find_place(f, &key, &place, &new);
	if (r || !new)
		return r == -ENOSPC ? 0 : r;
	index = (size_t)(place - f->ids.data);
	r = runtime_intern(f->set, named->name, &frame.name);
	if (!r)
		r = runtime_intern(f->set, named->file, &frame.file);
	if (!r)
		r = runtime_intern(f->set, named->package, &frame.package);
	if (!r)
		r = add_name(f, &frame, &id);
	if (!r)
		f->ids.data[index] = id;
	return r == -ENOSPC ? 0 : r;
}

const struct runtime_frame *runtime_frames_get(const struct runtime_frames *f, uint32_t id)
{
	static const struct runtime_frame none;

	return id && id <= f->names.len ? intern_get(&f->names, id, NULL) : &none;
}
