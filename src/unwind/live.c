/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/live.h"

#include <string.h>

#include "process/memory.h"

#define LIVE_ALIGN 4096u // an unreadable page costs only what lies above it

void live_start(struct live *l, uint32_t pid)
{
	l->pid = pid;
	l->at = 0;
	l->len = 0;
}

static bool held(const struct live *l, uint64_t addr, size_t len)
{
	return addr >= l->at && len <= l->len && addr - l->at <= l->len - len;
}

bool live_read(struct live *l, uint64_t addr, void *dst, size_t len)
{
	ssize_t got;

	if (!l->pid || len > LIVE_BYTES / 2 || addr + len < addr)
		return false;
	if (!held(l, addr, len)) {
		l->at = addr - addr % LIVE_ALIGN;
		got = process_memory_read_some(l->pid, l->at, l->bytes, sizeof(l->bytes));
		l->len = got > 0 ? (size_t)got : 0;
		if (!held(l, addr, len))
			return false;
	}
	memcpy(dst, l->bytes + (addr - l->at), len);
	return true;
}
