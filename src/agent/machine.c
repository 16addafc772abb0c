/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/machine.h"

int machine_init(struct machine *m, const struct options *options, uint64_t spawn_real_ns)
{
	const struct system_config config = {
		.spawn_real_ns = spawn_real_ns,
		.cloud = options->cloud_metadata == OPTION_CLOUD_AUTO,
	};
	int r;

	*m = (struct machine){0};
	r = external_metadata_init(&m->external, options->external_metadata);
	if (!r && options->collect_metadata)
		r = system_facts_start(&config, &m->facts);
	return r;
}

bool machine_deinit(struct machine *m)
{
	external_metadata_deinit(&m->external);
	return system_facts_free(m->facts);
}
