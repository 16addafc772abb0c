/* SPDX-License-Identifier: Apache-2.0 */
/* dlopener SECONDS LIBRARY [BEFORE]: burns alone for half of its life, or for BEFORE seconds, then in the library
 * it loads. */
#include <dlfcn.h>

#include "tests/workloads/workload.h"

NOINLINE void before_plugin(void)
{
	burn_here(1000);
}

int main(int argc, char **argv)
{
	const struct life life = life_begin(argc, argv);
	uint64_t before =
		argc > 3 ? strtoul(argv[3], NULL, 10) * 1000000000ull : (life.end - life.start) / 2;
	void (*work)(unsigned) = NULL;

	while (life_now(&life) < life.end) {
		if (!work && life_now(&life) > life.start + before && argc > 2) {
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
