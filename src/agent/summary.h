/* SPDX-License-Identifier: Apache-2.0 */
/* agent/summary.h -- a profile in a few lines for a person at a terminal. */
#ifndef GP_AGENT_SUMMARY_H
#define GP_AGENT_SUMMARY_H

#include "base/buf.h"
#include "profile/profile.h"

/* The n functions with the most samples of their own (self), with their share of all samples and
 * the share in which they stand anywhere on the stack (total). Return 0, -ENOMEM. */
int summary_top(struct buf *out, const struct profile *p, unsigned n);

#endif
