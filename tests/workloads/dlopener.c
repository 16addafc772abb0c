/* SPDX-License-Identifier: Apache-2.0 */
/* dlopener SECONDS LIBRARY: burns alone for half of its life, then in the library it loads. */
#include <dlfcn.h>

#include "tests/workloads/workload.h"

NOINLINE void before_plugin(void)
{
	burn_here(1000);
}

int main(int argc, char **argv)
{
	uint64_t start = now_ns(), end = life_end(argc, argv);
	void (*work)(unsigned) = NULL;

	while (now_ns() < end) {
		if (!work && now_ns() > start + (end - start) / 2 && argc > 2) {
			void *lib = dlopen(argv[2], RTLD_NOW);

			if (!lib)
				return 1;
			*(void **)&work = dlsym(lib, "plugin_work");
		}
		if (work)
			work(1000);
		else
			before_plugin();
		barrier();
	}
	return 0;
}
