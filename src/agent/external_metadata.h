/* SPDX-License-Identifier: Apache-2.0 */
/* agent/external_metadata.h -- a JSON file of somebody else's that goes into the headers: {"static":
 * {...}, "application": {"<pid>": {...}}} (gprofiler-agent.md 5.6).
 *
 * `static` is read once, `application` again for each window. A file that was not written for five
 * minutes is an error at start and left out later, as is one that is gone or is no JSON. One thread. */
#ifndef GP_AGENT_EXTERNAL_METADATA_H
#define GP_AGENT_EXTERNAL_METADATA_H

#include <stdint.h>

#include "base/json.h"

#define EXTERNAL_STALE_S 300

struct external_metadata {
	const char *path; // borrowed; NULL: none
	json_t *fixed; // static
	json_t *applications; // by pid, of the running window
};

/* path NULL or "": none. Return 0; -ENOENT, -ESTALE (said in the log: the program ends). */
int external_metadata_init(struct external_metadata *e, const char *path);
void external_metadata_deinit(struct external_metadata *e);
/* Reads `application` again; what is wrong is logged. */
void external_metadata_refresh(struct external_metadata *e);
/* That of a process, or NULL; borrowed. */
const json_t *external_metadata_of(const struct external_metadata *e, uint32_t pid);

#endif
