/* SPDX-License-Identifier: Apache-2.0 */
#include "base/vec.h"

#define VEC_MIN_BYTES 64

int vec_grow(void **data, size_t *size, size_t need, size_t cap, size_t elem)
{
	size_t n = *size;
	void *p;

	if (need > cap)
		return -ENOSPC;
	if (need <= n)
		return 0;
	n = MAX(n + n / 2, MAX(need, VEC_MIN_BYTES / elem));
	n = MIN(n, cap);
	p = reallocarray(*data, n, elem);
	if (!p)
		return -ENOMEM;
	*data = p;
	*size = n;
	return 0;
}
