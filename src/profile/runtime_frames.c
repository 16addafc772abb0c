/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/runtime_frames.h"

#include <errno.h>
#include <string.h>

#define FRAME_WORDS_MAX 3

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

static int name_frame(
	struct runtime_frames *f, struct process *p, struct frame_key key, uint32_t *ret_id)
{
	const uint64_t *words = key.words;
	struct runtime_frame frame, plain;
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
	// Its padding counts, too.
	memset(&plain, 0, sizeof(plain));
	plain.name = frame.name;
	plain.file = frame.file;
	plain.line = frame.line;
	plain.start_line = frame.start_line;
	plain.package = frame.package;
	plain.stale = frame.stale;
	r = intern_add(&f->names, &plain, sizeof(plain), ret_id);
	if (!r && !frame.stale)
		tell_family(f, &key, *ret_id);
	return r;
}

int runtime_frames_id(
	struct runtime_frames *f, struct process *p, const uint64_t *words, uint32_t *ret_id)
{
	struct frame_key key = {.uid = p->uid};
	unsigned nwords = runtime_frame_words((uint8_t)REC_FRAME_KIND(words[0]));
	uint32_t id, named = 0;
	int r;

	*ret_id = 0;
	if (!nwords || nwords > FRAME_WORDS_MAX)
		return 0;
	// Where in its run the frame stands makes it no other one.
	key.words[0] = words[0] & ~REC_FRAME_RUN_END;
	memcpy(key.words + 1, words + 1, (nwords - 1) * sizeof(*words));
	// Room for its name first: every key has its place.
	r = runtime_id_vec_reserve(&f->ids, 1);
	if (!r)
		r = intern_add(&f->keys, &key, sizeof(key), &id);
	if (!r && id <= f->ids.len) {
		*ret_id = f->ids.data[id - 1];
		return 0;
	}
	if (r) {
		f->full += r == -ENOSPC;
		return r == -ENOSPC ? 0 : r;
	}
	runtime_id_vec_push(&f->ids, 0);
	r = name_frame(f, p, key, &named);
	f->full += r == -ENOSPC;
	*ret_id = f->ids.data[id - 1] = named;
	return r == -ENOSPC ? 0 : r;
}

const struct runtime_frame *runtime_frames_get(const struct runtime_frames *f, uint32_t id)
{
	static const struct runtime_frame none;

	return id && id <= f->names.len ? intern_get(&f->names, id, NULL) : &none;
}
