/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/runtime.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/abi/python.h"
#include "runtime/python/python.h"

#define STRINGS_MAX (1u << 18)
#define STRINGS_BYTES (24u << 20)

/* One row a runtime. */
struct row {
	const struct runtime_ops *ops;
	unsigned words; // of a frame
	bool (*wanted)(const struct runtime_config *config);
	int (*make)(const struct runtime_config *config, struct intern *strings, void **ret);
};

static bool python_wanted(const struct runtime_config *config)
{
	return config->python;
}

static int python_make(const struct runtime_config *config, struct intern *strings, void **ret)
{
	struct py_runtime *rt;
	int r = py_runtime_new(config, strings, &rt);

	if (!r)
		*ret = rt;
	return r;
}

static const struct row rows[] = {
	{&py_runtime_ops, PY_FRAME_WORDS, python_wanted, python_make},
};

struct runtime_set {
	struct intern strings;
	bool recorded; // the processes are
	void *runtimes[ARRAY_SIZE(rows)]; // NULL: not wanted
};

int runtime_set_new(const struct runtime_config *config, struct runtime_set **ret)
{
	struct runtime_set *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	intern_init(&s->strings, STRINGS_MAX, STRINGS_BYTES);
	s->recorded = config->processes && config->processes->recorded;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		int r = rows[i].wanted(config) ? rows[i].make(config, &s->strings, &s->runtimes[i])
					       : 0;

		if (r) {
			runtime_set_free(s);
			return r;
		}
	}
	*ret = s;
	return 0;
}

void runtime_set_free(struct runtime_set *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (s->runtimes[i])
			rows[i].ops->free(s->runtimes[i]);
	intern_deinit(&s->strings);
	free(s);
}

int runtime_meet(struct runtime_set *s, struct process *p, const struct mapping *m)
{
	int again = 0;

	if (s->recorded)
		return 0;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		int r = s->runtimes[i] ? rows[i].ops->meet(s->runtimes[i], p, m) : 0;

		if (r < 0)
			return r;
		again |= r;
	}
	return again;
}

void runtime_forget(struct runtime_set *s, struct process *p)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (s->runtimes[i])
			rows[i].ops->forget(s->runtimes[i], p);
}

static const struct row *row_of(uint8_t kind)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].ops->kind == kind)
			return &rows[i];
	return NULL;
}

unsigned runtime_frame_words(uint8_t kind)
{
	const struct row *row = row_of(kind);

	return row ? row->words : 1;
}

int runtime_name_frame(
	struct runtime_set *s, struct process *p, const uint64_t *words, struct runtime_frame *ret)
{
	const struct row *row = row_of((uint8_t)REC_FRAME_KIND(words[0]));
	void *runtime = row ? s->runtimes[row - rows] : NULL;

	*ret = (struct runtime_frame){.stale = true};
	return runtime ? row->ops->name_frame(runtime, p, words, ret) : 0;
}

int runtime_intern(struct runtime_set *s, const char *text, uint32_t *ret_id)
{
	int r = text[0] ? intern_add(&s->strings, text, strlen(text), ret_id) : -ENOSPC;

	if (r == -ENOSPC)
		*ret_id = 0;
	return r == -ENOSPC ? 0 : r;
}

const char *runtime_text(const struct runtime_set *s, uint32_t id)
{
	return intern_str(&s->strings, id);
}

void runtime_describe(struct runtime_set *s, const struct process *p, char *ret, size_t size)
{
	ret[0] = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (s->runtimes[i] && rows[i].ops->describe(s->runtimes[i], p, ret, size))
			return;
}

void runtime_trim(struct runtime_set *s)
{
	if (s->strings.len < STRINGS_MAX / 2 && s->strings.bytes_len < STRINGS_BYTES / 2)
		return;
	intern_clear(&s->strings);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (s->runtimes[i] && rows[i].ops->trim)
			rows[i].ops->trim(s->runtimes[i]);
}

bool runtime_knows(struct runtime_set *s, struct process *p)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (s->runtimes[i] && rows[i].ops->knows && rows[i].ops->knows(s->runtimes[i], p))
			return true;
	return false;
}

void runtime_refuses(struct runtime_set *s, struct process *p, char *ret, size_t size)
{
	ret[0] = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (s->runtimes[i] && rows[i].ops->refuses &&
			rows[i].ops->refuses(s->runtimes[i], p, ret, size))
			return;
}

unsigned runtime_loops(struct runtime_set *s, const struct process *p, struct runtime_loop *ret)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned n = 0;

		if (s->runtimes[i] && rows[i].ops->loops)
			n = rows[i].ops->loops(s->runtimes[i], p, ret);
		if (n)
			return n;
	}
	return 0;
}

int runtime_read_threads(struct runtime_set *s, struct process *p, const struct runtime_visitor *v)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		int r;

		if (!s->runtimes[i] || !rows[i].ops->read_threads)
			continue;
		r = rows[i].ops->read_threads(s->runtimes[i], p, v);
		if (r != -ENOENT)
			return r;
	}
	return -ENOENT;
}
