/* SPDX-License-Identifier: Apache-2.0 */
/* agent/exposition.h -- the agent's vitals as Prometheus text (exposition format 0.0.4). */
#ifndef GP_AGENT_EXPOSITION_H
#define GP_AGENT_EXPOSITION_H

#include "agent/vitals.h"
#include "base/buf.h"

#define EXPOSITION_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Appends every row with its HELP and TYPE. Return 0, -ENOSPC, -ENOMEM. */
int exposition_write(struct buf *out, const struct vitals_report *report);

#endif
