/* SPDX-License-Identifier: Apache-2.0 */
/* export/col_header.h -- what the header line of a .col file says of its run, read back.
 *
 * The reference's keys (gprofiler-agent.md 3.2) and those of agent/metadata: start_time, end_time
 * (UTC, whole seconds), duration_ns, ledger. One thread. */
#ifndef GP_EXPORT_COL_HEADER_H
#define GP_EXPORT_COL_HEADER_H

#include "base/json.h"
#include "bpf/abi/record.h"
#include "profile/profile.h"

/* Words for enum rec_reason, the keys of "reasons" in a ledger; NULL where there is none. */
extern const char *const col_header_reasons[REC_WHY_MAX];

/* Host, event, frequency, period, start, duration and ledger into p->meta; what is missing or of
 * another type is left as it is. A file of the reference has neither start nor duration: they are
 * taken from run_arguments.duration and from metadata.current_time, the run's end.
 * Return 0, -ENOSPC, -ENOMEM. */
int col_header_read(struct profile *p, const json_t *header);

#endif
