/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/interpreters.h"

#include "process/process.h"
#include "runtime/runtime.h"

#define MODULES_MAX 16384
#define FDS_MAX 64

static int count(struct process_table *t, unsigned enough, unsigned *ret)
{
	const struct runtime_config config = {.processes = t, .python = true};
	struct runtime_set *set;
	unsigned n = 0;
	int r = runtime_set_new(&config, &set);

	if (r)
		return r;
	map_foreach (slot, &t->by_pid) {
		struct process *p = (struct process *)(uintptr_t)slot->value;

		if (n < enough && !p->kernel_thread)
			n += runtime_knows(set, p);
	}
	runtime_set_free(set);
	*ret = n;
	return 0;
}

int interpreters_count(unsigned enough, unsigned *ret)
{
	struct module_table modules;
	struct process_table t;
	int r;

	module_table_init(&modules, MODULES_MAX, FDS_MAX);
	r = process_table_init(&t, &modules, "/proc");
	if (!r) {
		r = process_table_scan(&t);
		if (!r)
			r = count(&t, enough, ret);
		process_table_deinit(&t);
	}
	module_table_deinit(&modules);
	return r;
}
