/* SPDX-License-Identifier: Apache-2.0 */
/* config/metrics.h -- the rows of metrics.def as data. Constant; any thread. */
#ifndef GP_CONFIG_METRICS_H
#define GP_CONFIG_METRICS_H

#include <stddef.h>

#define METRICS_PREFIX "gprofiler_agent_"

struct metric_values {
#define METRIC(field, ...) double field;
#include "config/metrics.def"
#undef METRIC
};

enum metric_id {
#define METRIC(field, ...) METRIC_##field,
#include "config/metrics.def"
#undef METRIC
	METRIC_COUNT,
};

enum metric_kind { METRIC_GAUGE, METRIC_COUNTER };

struct metric_row {
	const char *field;
	enum metric_kind kind;
	const char *name; // after METRICS_PREFIX
	const char *labels; // as they stand between the braces
	const char *help; // may be empty, but in the first row of a name
};

extern const struct metric_row metric_rows[METRIC_COUNT];

static inline double metric_get(const struct metric_values *values, enum metric_id id)
{
	return ((const double *)values)[id];
}

#endif
