/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/native.h"

#include <string.h>

#define WALK_ENV const struct native_host *
#define WALK_READ(env, dst, len, addr) ((env)->read((env)->arg, (dst), (len), (addr)))
#define WALK_POOL(env, n) ((env)->tables->pool + (size_t)(n)*UW_POOL_SEGMENT_BYTES)
#define WALK_DIR(env) ((env)->tables->dir)
#define WALK_USED(env) ((env)->tables->used)
#define WALK_RULES(env) ((env)->tables->rules)
#define WALK_RECENT(env) ((env)->tables->recent)
#define WALK_MAPS(env) ((env)->tables->maps)
#define WALK_EPOCH(env) (*(env)->tables->epoch)
// Its unroll hints are clang's.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include "bpf/walk/native.h"
#pragma GCC diagnostic pop

bool native_after_call(uint64_t bytes)
{
	return walk_after_call(bytes);
}

enum native_host_result native_host_step(
	const struct native_host *h, struct native_frame *f, enum rec_reason *ret_why)
{
	struct walk_state w = {.ip = f->regs.r[CFI_REG_RA],
		.sp = f->regs.r[CFI_REG_SP],
		.fp = f->regs.r[CFI_REG_BP],
		.regs_valid = f->regs.valid,
		.map_first = h->first,
		.map_count = h->count,
		.mode = (uint8_t)(h->no_tables ? BPF_UNWIND_FP : h->mode),
		.exact = f->exact,
		.mark = f->mark};

	memcpy(w.regs, f->regs.r, sizeof(f->regs.r));
	if (walk_native_step(h, &w) == WALK_STOP) {
		*ret_why = (enum rec_reason)w.reason;
		if (w.outcome == REC_OUT_COMPLETE)
			return NATIVE_HOST_END;
		return w.outcome == REC_OUT_HANDOFF ? NATIVE_HOST_ASK : NATIVE_HOST_BROKEN;
	}
	memcpy(f->regs.r, w.regs, sizeof(f->regs.r));
	f->regs.r[CFI_REG_RA] = w.ip;
	f->regs.r[CFI_REG_SP] = w.sp;
	f->regs.r[CFI_REG_BP] = w.fp;
	f->regs.valid =
		(uint32_t)w.regs_valid | 1u << CFI_REG_RA | 1u << CFI_REG_SP | 1u << CFI_REG_BP;
	f->exact = w.exact;
	f->mark = w.mark;
	return NATIVE_HOST_MORE;
}
