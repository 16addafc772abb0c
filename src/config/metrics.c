/* SPDX-License-Identifier: Apache-2.0 */
#include "config/metrics.h"

_Static_assert(sizeof(struct metric_values) == METRIC_COUNT * sizeof(double),
	"metric_get() takes the values for an array");

const struct metric_row metric_rows[METRIC_COUNT] = {
#define METRIC(field, kind, name, labels, help)                                                    \
	[METRIC_##field] = {#field, METRIC_##kind, name, labels, help},
#include "config/metrics.def"
#undef METRIC
};
