/* SPDX-License-Identifier: Apache-2.0 */
/* agent/metadata.h -- the header object of a .col file (gprofiler-agent.md 3.2 and 5.1): all of its
 * keys in its order; what is not known in this version is null. */
#ifndef GP_AGENT_METADATA_H
#define GP_AGENT_METADATA_H

#include "agent/machine.h"
#include "base/json.h"
#include "profile/profile.h"

struct metadata_config {
	const json_t *run_arguments; // borrowed; secrets already masked
	struct machine *machine; // NULL, or without facts: hostname and profiling_mode only
	bool container_names; // the option's value
	bool application_metadata; // likewise
	bool hw_metrics; // they were asked for
	bool continuous; // window after window: the studio takes others for ad-hoc profiles
	const char *event; // sampled event
	unsigned frequency; // Hz
};

/* A new object, or NULL without memory. Reads containers and the ledger from the profile. */
json_t *metadata_header(const struct metadata_config *config, const struct profile *p);

/* The machine's name; ret holds at least 65 bytes. */
void metadata_hostname(char *ret, size_t size);

#endif
