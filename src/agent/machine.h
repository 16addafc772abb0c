/* SPDX-License-Identifier: Apache-2.0 */
/* agent/machine.h -- what each header says of the machine beside its profile: its facts, and the
 * external metadata file. Started before the sampling, never waited for by it. */
#ifndef GP_AGENT_MACHINE_H
#define GP_AGENT_MACHINE_H

#include "agent/diagnostics.h"
#include "agent/external_metadata.h"
#include "agent/system_facts.h"
#include "config/options.h"

struct machine {
	struct system_facts *facts; // NULL: not asked for
	struct external_metadata external;
	struct diagnostics diagnostics; // of who writes profiles
};

/* Return 0; -errno after an error in the log (the program ends). */
int machine_init(struct machine *m, const struct options *options, uint64_t spawn_real_ns);
/* Return false if a thread still asks the cloud: then all of it must be left alone until exit. */
bool machine_deinit(struct machine *m);

#endif
