/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/python/attach.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/cursor.h"
#include "base/fs.h"
#include "process/memory.h"
#include "runtime/accessor.h"
#include "runtime/symbols.h"

#define DTV_ENTRY_GLIBC 16 // {value, to_free}
#define DTV_ENTRY_MUSL 8
#define TLS_NEAR (64 << 20) // static TLS lies this near to the thread pointer
#define TLS_MODULES_MAX 65536
#define PATHS 16 // of pthread_getspecific: four conditional jumps

static int read_u64(uint32_t pid, uint64_t addr, uint64_t *ret)
{
	uint8_t raw[8];
	struct cursor c = cursor_make(raw, sizeof(raw));
	int r = process_memory_read(pid, addr, raw, sizeof(raw));

	if (!r)
		*ret = cursor_u64(&c);
	return r;
}

/* ---- the C library ---- */

static bool slot_of(const struct accessor_result *r, struct py_slot *ret)
{
	for (unsigned i = 0; i < r->nloads; i++) {
		const struct accessor_value *v = &r->loads[i];
		bool direct = v->base == ACCESSOR_AT_TP;

		if (!direct && v->base != ACCESSOR_AT_AT_TP)
			continue;
		if ((v->inner_scale != 8 && v->inner_scale != 16) || v->inner <= -65536 ||
			v->inner >= 65536)
			continue;
		ret->by = direct ? PY_SLOT_DIRECT : PY_SLOT_INDIRECT;
		ret->offset = (int32_t)v->inner;
		ret->stride = (uint32_t)v->inner_scale;
		return true;
	}
	return false;
}

int py_slot_locate(const struct module *m, struct py_slot *ret)
{
	struct runtime_symbol w = {.name = "pthread_getspecific", .required = true};
	uint8_t bytes[ACCESSOR_CODE_MAX];
	struct accessor_code code = {.bytes = bytes};
	struct accessor_result result;
	uint64_t off;
	ssize_t n;
	int r = runtime_symbols_find(m, SHT_DYNSYM, &w, 1);

	if (r || !w.n || m->machine != EM_X86_64 ||
		!module_vaddr_to_offset(m, w.symbols[0].value, &off))
		return r == -ENOMEM ? r : -ENOENT;
	n = module_read(m, off, bytes, MIN(MAX(w.symbols[0].size, 64), sizeof(bytes)));
	if (n <= 0)
		return -ENOENT;
	code.len = (size_t)n;
	code.vaddr = w.symbols[0].value;
	for (unsigned path = 0; path < PATHS; path++) {
		accessor_run(&code, path, 1, &result);
		if (slot_of(&result, ret))
			return 0;
	}
	return -ENOENT;
}

static bool is_libc(const char *path, bool threads)
{
	static const char *const libc[] = {"libc.so", "libc-2.", "ld-musl-", "libc.musl-"};
	const char *name = fs_basename(path);

	if (threads)
		return strncmp(name, "libpthread", 10) == 0;
	for (unsigned i = 0; i < ARRAY_SIZE(libc); i++)
		if (strncmp(name, libc[i], strlen(libc[i])) == 0)
			return true;
	return false;
}

struct module *py_libc_open(struct process_table *t, struct process *p)
{
	// Before glibc 2.34 the function is in libpthread.
	for (int threads = 1; threads >= 0; threads--) {
		for (size_t i = 0; i < p->maps.len; i++) {
			const struct mapping *map = &p->maps.data[i];

			if (map->kind != MAPPING_FILE ||
				!is_libc(intern_str(&t->strings, map->path), threads) ||
				process_open_module(t, p, map))
				continue;
			return module_get(t->modules, map->module);
		}
	}
	return NULL;
}

/* ---- the interpreter ---- */

bool py_bias(const struct module *m, const struct mapping *map, uint64_t *ret)
{
	for (unsigned i = 0; i < m->nsegments; i++) {
		const struct module_segment *s = &m->segments[i];
		uint64_t first = s->offset & ~4095ull;

		if (!(s->flags & PF_X) || map->pgoff < first || map->pgoff >= s->offset + s->filesz)
			continue;
		*ret = map->start - map->pgoff + s->offset - s->vaddr;
		return true;
	}
	return false;
}

int py_first_thread(const struct py_target *t, struct py_first *ret)
{
	const struct py_offsets *o = &t->module->offsets;
	struct py_first f;
	uint64_t interp, linked;
	int r;

	if (!t->module->interp_head)
		return -ENOENT;
	r = read_u64(t->pid, t->bias + t->module->interp_head, &f.interp);
	if (r)
		return r;
	if (!f.interp)
		return -EAGAIN;
	// New interpreters are put first: the oldest one is the last.
	for (unsigned i = 0; i < 64; i++) {
		if (read_u64(t->pid, f.interp + o->interp_next, &interp) || !interp)
			break;
		f.interp = interp;
	}
	r = read_u64(t->pid, f.interp + o->interp_tstate_head, &f.tstate);
	if (r)
		return r == -EFAULT ? -EINVAL : r;
	if (!f.tstate)
		return -EAGAIN;
	if (read_u64(t->pid, f.tstate + o->layout.tstate_interp, &linked) ||
		read_u64(t->pid, f.tstate + o->layout.tstate_thread_id, &f.thread_pointer))
		return -EINVAL;
	if (linked != f.interp)
		return -EINVAL;
	*ret = f;
	return 0;
}

/* A pair that __tls_get_addr takes, as the loader filled it. */
static int attach_pair(const struct py_target *t, const struct py_slot *slot,
	const struct py_first *first, struct py_process *out)
{
	bool musl = slot && slot->by == PY_SLOT_INDIRECT;
	uint64_t module, offset, dtv, block, to_free, stride;
	int64_t off;

	if (read_u64(t->pid, t->bias + t->module->tls_addr, &module) ||
		read_u64(t->pid, t->bias + t->module->tls_addr + 8, &offset) || !module ||
		module > TLS_MODULES_MAX || offset > TLS_NEAR)
		return -ENOENT;
	stride = module * (musl ? DTV_ENTRY_MUSL : DTV_ENTRY_GLIBC);
	out->tstate_by = PY_TSTATE_DTV;
	out->dtv_entry = (uint32_t)stride;
	out->tls_offset = (int32_t)(t->module->tls_off + (int64_t)offset);
	if (musl || !first)
		return 0;
	// Blocks that glibc did not allocate for this thread are at one distance in all threads.
	if (read_u64(t->pid, first->thread_pointer + PY_DTV_AT, &dtv) ||
		read_u64(t->pid, dtv + stride, &block) ||
		read_u64(t->pid, dtv + stride + 8, &to_free))
		return 0;
	off = (int64_t)(block - first->thread_pointer);
	if (to_free || off > 0 || off < -TLS_NEAR)
		return 0;
	out->tstate_by = PY_TSTATE_TLS;
	out->tls_offset = (int32_t)(off + out->tls_offset);
	out->dtv_entry = 0;
	return 0;
}

static int attach_tls(const struct py_target *t, const struct py_slot *slot,
	const struct py_first *first, struct py_process *out)
{
	uint64_t word = 0;
	int64_t off;

	switch (t->module->tls_kind) {
	case PY_TLS_PAIR:
		return attach_pair(t, slot, first, out);
	case PY_TLS_GOT:
		// Zero until the loader has been there.
		if (read_u64(t->pid, t->bias + t->module->tls_addr, &word) || !word)
			return -ENOENT;
		break;
	case PY_TLS_OFFSET:
		break;
	default:
		return -ENOENT;
	}
	off = (int64_t)(word + (uint64_t)t->module->tls_off);
	if (off < -TLS_NEAR || off > TLS_NEAR)
		return -ENOENT;
	out->tstate_by = PY_TSTATE_TLS;
	out->tls_offset = (int32_t)off;
	return 0;
}

/* Does the runtime's current state look like one? A build with other fields in between does not have
 * it there. It changes all the time, so that one good look of three is enough. */
static bool current_plausible(const struct py_target *t)
{
	const struct py_offsets *o = &t->module->offsets;
	uint64_t state, interp, head, linked;

	for (unsigned i = 0; i < 3; i++) {
		if (read_u64(t->pid, t->bias + t->module->current, &state))
			return false;
		if (!state)
			return true;
		if (read_u64(t->pid, state + o->layout.tstate_interp, &interp) == 0 &&
			read_u64(t->pid, interp + o->interp_tstate_head, &head) == 0 &&
			read_u64(t->pid, head + o->layout.tstate_interp, &linked) == 0 &&
			linked == interp)
			return true;
	}
	return false;
}

int py_attach(const struct py_target *t, const struct py_slot *slot, const struct py_first *first,
	struct py_process *ret)
{
	const struct py_module *m = t->module;
	struct py_process p = {0};

	for (unsigned i = 0; i < m->nranges; i++, p.nranges++) {
		p.eval[i].start = m->eval[i].start + t->bias;
		p.eval[i].end = m->eval[i].end + t->bias;
	}
	p.key_addr = m->key ? m->key + t->bias : 0;
	p.key_plain = m->offsets.hex < PY_HEX(3, 7, 0);
	if (m->current && (!first || current_plausible(t)))
		p.current_addr = m->current + t->bias;
	if (m->none && m->offsets.layout.chain == PY_CHAIN_INTERP)
		p.none_addr = m->none + t->bias;
	if (m->interp_head && (m->offsets.interp_next | m->offsets.interp_tstate_head |
				      m->offsets.tstate_next) <= UINT16_MAX) {
		p.head_addr = m->interp_head + t->bias;
		p.interp_next = (uint16_t)m->offsets.interp_next;
		p.interp_tstate_head = (uint16_t)m->offsets.interp_tstate_head;
		p.tstate_next = (uint16_t)m->offsets.tstate_next;
	}
	// The key of 2.7 is one of a list of its own (Python/thread.c), not of the C library.
	if (!p.key_addr || m->offsets.hex < PY_HEX(3, 0, 0))
		slot = NULL;
	if (slot) {
		p.slot_by = slot->by;
		p.slot_offset = slot->offset;
		p.slot_stride = slot->stride;
	}
	if (m->offsets.hex < PY_HEX(3, 12, 0) || attach_tls(t, slot, first, &p)) {
		if (!p.current_addr && !slot)
			return -ENOENT;
		p.tstate_by = p.current_addr ? PY_TSTATE_CURRENT : PY_TSTATE_SLOT;
	}
	*ret = p;
	return 0;
}
