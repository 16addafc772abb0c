/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/comm_map.h"

#include <stdio.h>
#include <string.h>

#include "base/fs.h"

void comm_map_init(struct comm_map *m, size_t cap)
{
	map_init(&m->low, cap);
	map_init(&m->high, cap);
}

void comm_map_deinit(struct comm_map *m)
{
	map_deinit(&m->low);
	map_deinit(&m->high);
}

static void set(struct comm_map *m, uint32_t tid, const char *text)
{
	uint64_t words[2] = {0};

	memcpy(words, text, strnlen(text, REC_COMM_LEN - 1));
	// At the cap the name is read from /proc at each sample: slow, but right.
	if (map_set(&m->low, tid, words[0]))
		return;
	if (map_set(&m->high, tid, words[1]))
		map_remove(&m->low, tid);
}

static bool get(const struct comm_map *m, uint32_t tid, char ret[REC_COMM_LEN])
{
	const uint64_t *low = map_get(&m->low, tid), *high = map_get(&m->high, tid);

	if (!low || !high)
		return false;
	memcpy(ret, low, 8);
	memcpy(ret + 8, high, 8);
	return true;
}

void comm_map_apply(struct comm_map *m, const struct capture_event *e)
{
	char name[REC_COMM_LEN];

	switch (e->type) {
	case CAPTURE_COMM:
		set(m, e->tid, e->comm.text);
		break;
	case CAPTURE_FORK:
		if (get(m, e->fork.ptid, name))
			set(m, e->tid, name);
		break;
	case CAPTURE_EXIT:
		map_remove(&m->low, e->tid);
		map_remove(&m->high, e->tid);
		break;
	default:
		break;
	}
}

void comm_map_get(struct comm_map *m, uint32_t pid, uint32_t tid, char ret[REC_COMM_LEN])
{
	_cleanup_buf_ struct buf b = BUF_INIT(64);
	char path[64];

	memset(ret, 0, REC_COMM_LEN);
	if (get(m, tid, ret))
		return;
	snprintf(path, sizeof(path), "/proc/%u/task/%u/comm", pid, tid);
	if (!fs_read_file(path, &b)) {
		size_t n = strcspn(buf_str(&b), "\n");

		memcpy(ret, buf_str(&b), MIN(n, (size_t)REC_COMM_LEN - 1));
	}
	set(m, tid, ret);
}
