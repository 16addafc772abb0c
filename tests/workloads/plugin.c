/* SPDX-License-Identifier: Apache-2.0 */
/* The library that dlopener loads in the middle of a profile. */
#include "tests/workloads/workload.h"

void plugin_work(unsigned units);

NOINLINE void plugin_inner(unsigned units)
{
	burn_here(units);
}

void plugin_work(unsigned units)
{
	plugin_inner(units);
	barrier();
}
