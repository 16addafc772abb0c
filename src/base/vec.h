/* SPDX-License-Identifier: Apache-2.0 */
/* base/vec.h -- typed growable arrays with a cap given at birth.
 *
 * VEC_DEFINE(name, type) makes `struct name { type *data; size_t len, size, cap; }` with
 * name_init(v, cap), name_push(v, item), name_insert(v, at, item), name_remove(v, at, n),
 * name_reserve(v, n), name_clear(v), name_deinit(v). A push at the cap returns -ENOSPC, without
 * memory -ENOMEM, and changes nothing. Pointers into `data` die at the next insertion. */
#ifndef GP_BASE_VEC_H
#define GP_BASE_VEC_H

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* Grows *data so that `need` elements fit. Return 0, -ENOSPC past cap, -ENOMEM. */
int vec_grow(void **data, size_t *size, size_t need, size_t cap, size_t elem);

#define VEC_DEFINE(name, type)                                                                     \
	struct name {                                                                              \
		type *data;                                                                        \
		size_t len, size, cap;                                                             \
	};                                                                                         \
	static inline _unused_ void name##_init(struct name *v, size_t cap)                        \
	{                                                                                          \
		*v = (struct name){.cap = cap};                                                    \
	}                                                                                          \
	static inline _unused_ void name##_deinit(struct name *v)                                  \
	{                                                                                          \
		free(v->data);                                                                     \
		*v = (struct name){.cap = v->cap};                                                 \
	}                                                                                          \
	static inline _unused_ void name##_clear(struct name *v)                                   \
	{                                                                                          \
		v->len = 0;                                                                        \
	}                                                                                          \
	static inline _unused_ int name##_reserve(struct name *v, size_t n)                        \
	{                                                                                          \
		return vec_grow((void **)&v->data, &v->size, v->len + n, v->cap, sizeof(type));    \
	}                                                                                          \
	static inline _unused_ int name##_insert(struct name *v, size_t at, type item)             \
	{                                                                                          \
		int r = name##_reserve(v, 1);                                                      \
		if (r)                                                                             \
			return r;                                                                  \
		memmove(v->data + at + 1, v->data + at, (v->len - at) * sizeof(type));             \
		v->data[at] = item;                                                                \
		v->len++;                                                                          \
		return 0;                                                                          \
	}                                                                                          \
	static inline _unused_ int name##_push(struct name *v, type item)                          \
	{                                                                                          \
		return name##_insert(v, v->len, item);                                             \
	}                                                                                          \
	static inline _unused_ void name##_remove(struct name *v, size_t at, size_t n)             \
	{                                                                                          \
		memmove(v->data + at, v->data + at + n, (v->len - at - n) * sizeof(type));         \
		v->len -= n;                                                                       \
	}

#define vec_foreach(item, v)                                                                       \
	for (__typeof__(&*(v)->data) item = (v)->data; item && item < (v)->data + (v)->len; item++)

#endif
