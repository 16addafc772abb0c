/* SPDX-License-Identifier: Apache-2.0 */
#include "export/col_header.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"

const char *const col_header_reasons[REC_WHY_MAX] = {
	[REC_WHY_NONE] = "none",
	[REC_WHY_NO_PROCESS] = "process not known yet",
	[REC_WHY_NO_MAPPING] = "no mapping holds the address",
	[REC_WHY_NO_TABLE] = "no unwind table",
	[REC_WHY_COMPLEX] = "rule too complex",
	[REC_WHY_STACK_READ] = "stack not readable",
	[REC_WHY_BAD_CFA] = "frame not above the last one",
	[REC_WHY_BAD_FP] = "implausible frame pointer",
	[REC_WHY_BAD_PC] = "implausible return address",
	[REC_WHY_STEPS] = "out of steps",
	[REC_WHY_STACK_SHORT] = "ran past the copied stack",
	[REC_WHY_BITS32] = "32-bit process",
};

/* A whole number that is not negative, or 0. */
static uint64_t number(const json_t *o, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(o, key));

	return v > 0 ? (uint64_t)v : 0;
}

/* "YYYY-MM-DDTHH:MM:SS" in UTC, or 0. */
static uint64_t iso_ns(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));
	struct tm tm = {0};
	uint64_t ns;
	time_t s;

	if (!text || !strptime(text, "%Y-%m-%dT%H:%M:%S", &tm))
		return 0;
	s = timegm(&tm);
	return s > 0 && !__builtin_mul_overflow((uint64_t)s, NSEC_PER_SEC, &ns) ? ns : 0;
}

static void read_times(struct profile_meta *m, const json_t *header)
{
	const json_t *metadata = json_object_get(header, "metadata");
	const json_t *arguments = json_object_get(metadata, "run_arguments");
	uint64_t end = iso_ns(header, "end_time"), seconds = number(arguments, "duration");

	if (!end)
		end = iso_ns(metadata, "current_time");
	m->start_real_ns = iso_ns(header, "start_time");
	m->duration_ns = number(header, "duration_ns");
	if (!m->duration_ns && m->start_real_ns && end > m->start_real_ns)
		m->duration_ns = end - m->start_real_ns;
	if (!m->duration_ns && seconds <= UINT32_MAX)
		m->duration_ns = seconds * NSEC_PER_SEC;
	if (!m->start_real_ns && end > m->duration_ns)
		m->start_real_ns = end - m->duration_ns;
}

static void read_ledger(struct profile_meta *m, const json_t *j)
{
	const json_t *reasons = json_object_get(j, "reasons");
	struct profile_ledger *l = &m->ledger;

	if (!json_is_object(j))
		return;
	m->has_ledger = true;
#define LEDGER(name, ...) l->name = number(j, #name);
#define CAPTURE(...)
#include "config/counters.def"
#undef LEDGER
#undef CAPTURE
	for (size_t i = 1; i < ARRAY_SIZE(l->broken_reasons) && i < REC_WHY_MAX; i++)
		if (col_header_reasons[i])
			l->broken_reasons[i] = number(reasons, col_header_reasons[i]);
}

static int text(struct profile *p, const json_t *o, const char *key, uint32_t *ret)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? profile_string(p, s, ret) : 0;
}

int col_header_read(struct profile *p, const json_t *header)
{
	struct profile_meta *m = &p->meta;
	uint64_t frequency = number(header, "sampling_frequency");
	const char *event;
	int r;

	if (frequency && frequency <= UINT32_MAX)
		m->frequency = (unsigned)frequency;
	read_times(m, header);
	read_ledger(m, json_object_get(header, "ledger"));
	r = text(p, json_object_get(header, "metadata"), "hostname", &m->hostname);
	if (!r)
		r = text(p, header, "sampling_event", &m->event);
	event = profile_text(p, m->event);
	if (m->frequency && (!strcmp(event, "cpu-clock") || !strcmp(event, "task-clock")))
		m->period = NSEC_PER_SEC / m->frequency;
	return r;
}
