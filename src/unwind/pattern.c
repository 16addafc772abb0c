/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/pattern.h"

#include <string.h>

#include "base/cleanup.h"
#include "bpf/abi/unwind_table.h"

/* exit(main(...)) and pthread_exit(start(arg)) of a C library without CFI (musl): an indirect call
 * whose result goes to rdi and into a call that does not return. */
static bool is_last_call(const uint8_t *p, unsigned *ret_len)
{
	unsigned n = 2;

	if (p[0] != 0xff)
		return false;
	if (p[1] >= 0x50 && p[1] <= 0x57 && p[1] != 0x54) // call *disp8(%reg)
		n = 3;
	else if (!(p[1] >= 0xd0 && p[1] <= 0xd7) &&
		 !(p[1] >= 0x10 && p[1] <= 0x17 && p[1] != 0x14 && p[1] != 0x15))
		return false;
	*ret_len = n;
	p += n;
	p += *p == 0x48;
	if (p[0] != 0x89 || p[1] != 0xc7 || p[2] != 0xe8)
		return false;
	// The second call does not return: padding follows (nop, xchg %ax,%ax, nopl, nopw).
	p += 7;
	return p[0] == 0x90 || (p[0] == 0x0f && p[1] == 0x1f) ||
	       (p[0] == 0x66 && (p[1] == 0x90 || p[1] == 0x2e || p[1] == 0x0f || p[1] == 0x66));
}

bool pattern_match(const uint8_t *p, struct pattern *ret)
{
	static const uint8_t sigreturn[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};
	// call *%r9; mov %eax,%edi; xor %eax,%eax; mov $60,%al; syscall: the end of musl's clone()
	static const uint8_t clone[] = {
		0x41, 0xff, 0xd1, 0x89, 0xc7, 0x31, 0xc0, 0xb0, 0x3c, 0x0f, 0x05};

	if (p[0] != 0xff && p[0] != 0x41 && p[0] != 0x48)
		return false;
	*ret = (struct pattern){.cfa = UW_CFA_END};
	if (p[0] == 0xff) {
		ret->weak = true; // who called that function of the C library is a frame, too
		return is_last_call(p, &ret->len);
	}
	if (!memcmp(p, clone, sizeof(clone))) {
		ret->len = sizeof(clone);
		return true;
	}
	if (memcmp(p, sigreturn, sizeof(sigreturn)))
		return false;
	// A handler returns to the first byte; return addresses are looked up one before.
	*ret = (struct pattern){1, sizeof(sigreturn), UW_CFA_SIGNAL, false};
	return true;
}

/* How far before the rare bytes a pattern may begin: syscall ends the trampoline and musl's clone(), and
 * between an indirect call and the call of exit() lies the move of its result. */
struct mark {
	struct pattern_bytes b;
	uint8_t before[3]; // distances, 0 ends
};

static const struct mark marks[] = {
	{{{0x0f, 0x05}, 2, 1}, {7, 9}},
	{{{0x89, 0xc7, 0xe8}, 3, 1}, {2, 3, 4}},
};

const uint8_t *pattern_find(const uint8_t *p, const uint8_t *end, const struct pattern_bytes *b)
{
	while (end - p >= b->len) {
		const uint8_t *hit =
			memchr(p + b->rare, b->bytes[b->rare], (size_t)(end - p - b->len) + 1);

		if (!hit)
			return NULL;
		p = hit - b->rare;
		if (!memcmp(p, b->bytes, b->len))
			return p;
		p++;
	}
	return NULL;
}

void pattern_search(const uint8_t *code, size_t len, pattern_fn fn, void *arg)
{
	for (unsigned m = 0; m < ARRAY_SIZE(marks); m++) {
		const uint8_t *p = code, *end = code + len;

		while ((p = pattern_find(p, end, &marks[m].b))) {
			size_t at = (size_t)(p - code);

			for (unsigned i = 0; i < 3 && marks[m].before[i]; i++) {
				size_t before = marks[m].before[i];
				struct pattern found;

				if (before > at || at - before + PATTERN_BYTES > len ||
					!pattern_match(code + at - before, &found))
					continue;
				fn(arg, at - before, &found);
				break;
			}
			p++;
		}
	}
}
